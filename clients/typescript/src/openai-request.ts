/** What the requests of OpenAI's API say that matters before the call, and how a decision changes them. Never edits what the caller passed. */
import { fieldsOf } from './openai-usage.js';

export type Body = Readonly<Record<string, unknown>>;
export type Kind = 'chat' | 'responses' | 'embeddings';
export type Route = Kind | 'free' | 'unmetered';

const METERED: Readonly<Record<string, Kind>> = { '/chat/completions': 'chat', '/responses': 'responses', '/embeddings': 'embeddings' };
/** What costs money and has no usage in its answer, or bills later than any hold lives. */
const UNMETERED = /^\/(completions|images|audio|videos|batches|fine_tuning|threads|realtime|evals|chatkit|responses\/compact)(\/|$)/;
const OUTPUT_LIMITS: Readonly<Record<Kind, readonly string[]>> = {
  chat: ['max_completion_tokens', 'max_tokens'],
  responses: ['max_output_tokens'],
  embeddings: [],
};

/** What a POST to this path of the API is to us. */
export function routeOf(path: string): Route {
  const bare = path.split('?')[0] ?? '';
  if (Object.hasOwn(METERED, bare)) return METERED[bare] ?? 'free';
  return UNMETERED.test(bare) ? 'unmetered' : 'free';
}

/** All the call may answer, over all of its choices; null where the caller set no limit. */
export function maxOutputTokensOf(kind: Kind, body: Body): number | null {
  if (kind === 'embeddings') return 0;
  const limits = OUTPUT_LIMITS[kind].flatMap((name) => (typeof body[name] === 'number' ? [body[name]] : []));
  return limits.length === 0 ? null : Math.max(...limits) * choicesOf(body);
}

/** The body with another model, and with its limit cut to what the hold covers. A call that set no limit keeps none. */
export function changed(kind: Kind, body: Body, decision: { model: string | null; maxOutputTokens: number | null }): Body {
  const result: Record<string, unknown> = { ...body };
  if (decision.model !== null) result['model'] = decision.model;
  if (decision.maxOutputTokens === null) return result;
  const each = Math.max(1, Math.floor(decision.maxOutputTokens / choicesOf(body)));
  for (const name of OUTPUT_LIMITS[kind]) if (typeof body[name] === 'number' && body[name] > each) result[name] = each;
  return result;
}

/** A stream of chat completions says what it cost only when asked. */
export function askingForUsage(kind: Kind, body: Body): { body: Body; added: boolean } {
  if (kind !== 'chat' || body['stream'] !== true) return { body, added: false };
  const asked = fieldsOf(body['stream_options']);
  if (asked['include_usage'] === true) return { body, added: false };
  return { body: { ...body, stream_options: { ...asked, include_usage: true } }, added: true };
}

function choicesOf(body: Body): number {
  const { n } = body;
  return typeof n === 'number' && Number.isSafeInteger(n) && n > 1 ? n : 1;
}
