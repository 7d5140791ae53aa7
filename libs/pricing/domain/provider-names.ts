/**
 * One name per provider. Gateways and conventions call the same biller differently (LiteLLM "bedrock_converse", OpenTelemetry
 * "aws.bedrock"): all become the price book's name. A name not listed here stays what it is, so a self-hosted engine
 * ("hosted_vllm", "ollama") never borrows a list price by accident.
 */
const VERTEX = [
  'vertex',
  'vertex_ai',
  'vertex_ai_beta',
  'vertex-ai',
  'google_vertex',
  'google-vertex',
  'google-vertex-ai',
  'vertex_ai-language-models',
  'vertex_ai-anthropic_models',
];

const CANONICAL: ReadonlyMap<string, string> = new Map(
  Object.entries({
    anthropic: ['anthropic_text'],
    aws: ['bedrock', 'bedrock_converse', 'bedrock_mantle', 'aws_bedrock', 'aws.bedrock', 'amazon-bedrock', 'amazon_bedrock', 'amazon', 'amazon_nova'],
    azure: ['azure_text', 'azure_ai', 'azure_openai', 'azure-openai', 'azure.ai.openai', 'azure.ai.inference', 'az.ai.openai', 'az.ai.inference'],
    cohere: ['cohere_chat'],
    cloudflare: ['workers-ai'],
    fireworks: ['fireworks_ai', 'fireworks-ai'],
    'github-copilot': ['github_copilot'],
    google: [...VERTEX, 'gemini', 'google-ai-studio', 'google_genai', 'palm', 'gcp.gemini', 'gcp.gen_ai', 'gcp.vertex_ai'],
    mistral: ['mistralai', 'mistral_ai', 'codestral', 'text-completion-codestral'],
    moonshotai: ['moonshot', 'moonshot_ai'],
    openai: ['text-completion-openai', 'open_ai'],
    perplexity: ['perplexity-ai', 'perplexity_ai'],
    together: ['together_ai', 'together-ai', 'togetherai'],
    voyageai: ['voyage', 'voyage_ai'],
    'x-ai': ['xai', 'x_ai'],
    zhipuai: ['zhipu', 'zhipu_ai'],
  }).flatMap(([canonical, names]) => names.map((name) => [name, canonical] as const)),
);

/** Names of a gateway in front, which says nothing about who bills. */
const NO_PROVIDER: ReadonlySet<string> = new Set(['', 'litellm', 'litellm_proxy', 'custom', 'custom_openai', 'unknown']);

/** The price book's name of a provider; null where the name is only a gateway's. */
export function canonicalProvider(name: string): string | null {
  const lower = name.trim().toLowerCase();
  if (NO_PROVIDER.has(lower)) return null;
  return CANONICAL.get(lower) ?? lower;
}

/** As {@link canonicalProvider}, for a name an operator wrote on purpose: a gateway's name is then a provider's. */
export function providerKey(name: string): string {
  return canonicalProvider(name) ?? name.trim().toLowerCase();
}

const AWS_REGION = /^[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d\//;
const AWS_ROUTE = /^(?:converse|converse_like|invoke|mantle)\//;
const AWS_ARN = /^arn:aws[a-z-]*:bedrock:[^/]*:(?:foundation-model|inference-profile)\//;
const GOOGLE_PATH = /^(?:projects\/[^/]+\/locations\/[^/]+\/)?(?:publishers\/[^/]+\/)?models\//;
/** Global deployments cost the list price; `eu/` and `us/` data zones cost more and are left on, so that they stay unpriced. */
const AZURE_SCOPE = /^(?:global|global-standard)\//;

/**
 * The names under which `model` may be listed, as sent first and then with prefixes taken off that only say how the call was routed:
 * the provider's own name ("openai/gpt-4o"), Bedrock routes, regions and ARNs, Google resource paths, Azure's global scope.
 */
export function namesToTry(provider: string, model: string): string[] {
  const names = [model.trim().toLowerCase()];
  const add = (name: string): void => {
    if (name !== '' && !names.includes(name)) names.push(name);
  };
  for (let index = 0; index < names.length; index += 1) {
    const name = names[index] ?? '';
    const slash = name.indexOf('/');
    if (slash > 0 && canonicalProvider(name.slice(0, slash)) === provider) add(name.slice(slash + 1));
    if (provider === 'aws') add(name.replace(AWS_ROUTE, '').replace(AWS_REGION, '').replace(AWS_ARN, ''));
    if (provider === 'google') add(name.replace(GOOGLE_PATH, ''));
    if (provider === 'azure') add(name.replace(AZURE_SCOPE, ''));
  }
  return names;
}
