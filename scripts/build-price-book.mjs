/**
 * Converts the catalogue of @pydantic/genai-prices into libs/pricing/catalogue/base-book.json: exact decimal strings in USD per unit,
 * one model per line, sorted, the same bytes on every run. The package holds JavaScript floats, so each price is read from the shortest
 * decimal that prints it, and a literal that is float debris (more than 15 significant digits) must be listed below or the build fails.
 *
 *   node scripts/build-price-book.mjs           writes the file
 *   node scripts/build-price-book.mjs --check   fails when the committed file is not what the installed package gives
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitForUpdate } from '@pydantic/genai-prices';

const target = fileURLToPath(new URL('../libs/pricing/catalogue/base-book.json', import.meta.url));

/** Price key of the catalogue -> [component of ours, units the price is for]. Zero-count components of ours have no key here. */
const COMPONENT_OF_KEY = {
  input_mtok: ['input_tokens', 1_000_000],
  cache_read_mtok: ['cache_read_tokens', 1_000_000],
  cache_write_mtok: ['cache_creation_tokens', 1_000_000],
  cache_write_1h_mtok: ['cache_creation_1h_tokens', 1_000_000],
  input_audio_mtok: ['audio_input_tokens', 1_000_000],
  input_image_mtok: ['image_input_tokens', 1_000_000],
  output_mtok: ['output_tokens', 1_000_000],
  output_reasoning_mtok: ['reasoning_tokens', 1_000_000],
  output_audio_mtok: ['audio_output_tokens', 1_000_000],
  output_image_mtok: ['meter:image_output_tokens', 1_000_000],
  output_video_mtok: ['meter:video_output_tokens', 1_000_000],
  input_video_mtok: ['meter:video_input_tokens', 1_000_000],
  output_citation_mtok: ['meter:citation_tokens', 1_000_000],
  web_searches_kcount: ['meter:web_search', 1_000],
  storage_searches_kcount: ['meter:file_search', 1_000],
  requests_kcount: ['meter:requests', 1_000],
  input_text_messages_kcount: ['meter:text_messages', 1_000],
  input_document_kpages: ['meter:document_pages', 1_000],
  input_annotated_document_kpages: ['meter:annotated_document_pages', 1_000],
  audio_hours: ['meter:audio_seconds', 3_600],
};

/** Finer than our pools, or the same thing twice: cached audio and image tokens count as cache_read_tokens, input_audio_hours repeats audio_hours. */
const KEYS_NOT_CARRIED = new Set(['cache_audio_read_mtok', 'cache_image_read_mtok', 'input_audio_hours']);

/** Literals that carry float debris, or that do not divide to 15 decimals; both are rounded half-even to 1e-15 USD. A new one needs a look. */
const ROUNDED = new Set([
  'groq/whisper-large-v3 meter:audio_seconds',
  'groq/whisper-large-v3-turbo meter:audio_seconds',
  'huggingface_together/Qwen/Qwen3-VL-8B-Instruct input_tokens',
  'openrouter/google/gemini-2.5-flash-image cache_creation_tokens',
  'openrouter/google/gemini-2.5-flash-lite cache_creation_tokens',
  'openrouter/google/gemini-3-flash-preview cache_creation_tokens',
  'openrouter/google/gemini-3.1-flash-lite cache_creation_tokens',
  'openrouter/google/gemini-3.5-flash cache_creation_tokens',
  'openrouter/~google/gemini-flash-latest cache_creation_tokens',
  'x-ai/grok-voice-think-fast-2.0 meter:audio_seconds',
  'x-ai/grok-voice-think-fast-1.0 meter:audio_seconds',
  'x-ai/grok-voice-latest meter:audio_seconds',
]);

const SIGNIFICANT_DIGITS = 15;
const FEMTO_DECIMALS = 15;
/** Nobody asks more than one cent for a token: anything above is a price per thousand or per million in the wrong column. */
const MAX_TOKEN_FEMTO = 10n ** 13n;
const roundedSeen = new Set();

/** The decimal text of one unit's price: `literal` USD for `per` units. */
function unitPrice(literal, per, label) {
  if (typeof literal !== 'number' || !Number.isFinite(literal) || literal < 0) throw new Error(`${label}: ${literal} is no price`);
  let text = String(literal);
  if (text.replace(/e.*$/, '').replace(/\D/g, '').replace(/^0+/, '').length > SIGNIFICANT_DIGITS) {
    note(label);
    text = String(Number(literal.toPrecision(SIGNIFICANT_DIGITS)));
  }
  const match = /^(\d+)(?:\.(\d+))?(?:e-(\d+))?$/.exec(text);
  if (!match) throw new Error(`${label}: cannot read ${text}`);
  const [, whole, fraction = '', exponent = '0'] = match;
  const numerator = BigInt(whole + fraction) * 10n ** BigInt(FEMTO_DECIMALS);
  const denominator = 10n ** BigInt(fraction.length + Number(exponent)) * BigInt(per);
  let femto = numerator / denominator;
  const rest = numerator % denominator;
  if (rest !== 0n) {
    note(label);
    if (rest * 2n > denominator || (rest * 2n === denominator && femto % 2n === 1n)) femto += 1n;
  }
  if (label.endsWith('_tokens') && femto > MAX_TOKEN_FEMTO) throw new Error(`${label}: more than 0.01 USD a token`);
  return decimalOf(femto);
}

function note(label) {
  if (!ROUNDED.has(label)) throw new Error(`${label}: not an exact decimal; look at it, then list it in ROUNDED`);
  roundedSeen.add(label);
}

function decimalOf(femto) {
  const digits = femto.toString().padStart(FEMTO_DECIMALS + 1, '0');
  return `${digits.slice(0, -FEMTO_DECIMALS)}.${digits.slice(-FEMTO_DECIMALS)}`.replace(/\.?0+$/, '');
}

/** {component: "decimal" | {base, tiers: [[above, "decimal"]]}} in a fixed order of components. */
function convertPrices(prices, owner) {
  const converted = new Map();
  for (const [key, value] of Object.entries(prices)) {
    if (KEYS_NOT_CARRIED.has(key)) {
      if (key === 'input_audio_hours' && value !== prices.audio_hours) throw new Error(`${owner}: input_audio_hours differs from audio_hours`);
      continue;
    }
    const mapping = COMPONENT_OF_KEY[key];
    if (!mapping) throw new Error(`${owner}: no component of ours for ${key}`);
    const [component, per] = mapping;
    const label = `${owner} ${component}`;
    if (typeof value === 'number') {
      converted.set(component, unitPrice(value, per, label));
      continue;
    }
    const tiers = value.tiers.map((tier) => [tier.start, unitPrice(tier.price, per, label)]);
    if (tiers.some(([start], index) => !Number.isSafeInteger(start) || start <= (tiers[index - 1]?.[0] ?? 0))) throw new Error(`${label}: tiers out of order`);
    converted.set(component, { base: unitPrice(value.base, per, label), tiers });
  }
  const order = Object.values(COMPONENT_OF_KEY).map(([component]) => component);
  return Object.fromEntries([...converted].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)));
}

/**
 * Prices over time, oldest first; the last entry that applies wins. The catalogue gives time-of-day entries no date, though a peak price
 * begins with the list price before it: each takes the date of the nearest dated entry above it, else history would be re-rated at peak prices.
 */
function convertPeriods(prices, owner) {
  const entries = Array.isArray(prices) ? prices : [{ prices }];
  let from;
  return entries.map(({ constraint, prices: set }) => {
    const period = {};
    if (constraint?.type === 'start_date') {
      if (from !== undefined && constraint.start_date <= from) throw new Error(`${owner}: dates out of order`);
      from = constraint.start_date;
    }
    if (from !== undefined) period.from = from;
    if (constraint?.type === 'time_of_date') period.daily = [secondsOfDay(constraint.start_time, owner), secondsOfDay(constraint.end_time, owner)];
    period.prices = convertPrices(set, owner);
    return period;
  });
}

function secondsOfDay(text, owner) {
  const match = /^(\d{2}):(\d{2}):(\d{2})Z$/.exec(text);
  if (!match) throw new Error(`${owner}: cannot read the time ${text}`);
  return Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3]);
}

/** Names that are the model, and rules for what else is; `or` is flattened away. */
function convertMatch(match, id) {
  const alternatives = flattenOr(match);
  const names = alternatives.flatMap((rule) => ('equals' in rule ? [rule.equals.toLowerCase()] : []));
  const rules = alternatives.filter((rule) => !('equals' in rule));
  return { names: [...new Set([id.toLowerCase(), ...names])].slice(1), rules };
}

function flattenOr(rule) {
  return 'or' in rule ? rule.or.flatMap(flattenOr) : [rule];
}

function convertModel(model, provider) {
  const owner = `${provider}/${model.id}`;
  // The catalogue writes "free" as a price list without entries. Only an id that says so itself is taken at its word.
  const free = model.id.endsWith(':free') ? { input_tokens: '0', output_tokens: '0' } : undefined;
  const periods = convertPeriods(model.prices, owner).map((period) => (Object.keys(period.prices).length === 0 && free ? { ...period, prices: free } : period));
  if (periods.some((period) => Object.keys(period.prices).length === 0)) return null;
  const { names, rules } = convertMatch(model.match, model.id);
  return {
    id: model.id,
    ...(names.length > 0 ? { names } : {}),
    ...(rules.length > 0 ? { rules } : {}),
    periods,
  };
}

function convertProvider(provider) {
  return {
    id: provider.id,
    ...(provider.model_match ? { models_named: provider.model_match } : {}),
    ...(provider.fallback_model_providers ? { fallback: provider.fallback_model_providers } : {}),
    models: provider.models
      .map((model) => convertModel(model, provider.id))
      .filter((model) => model !== null)
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}

/** JSON with one model on a line, so that a price change is a one-line diff. */
function print(book) {
  const providers = book.providers.map(({ models, ...head }) => {
    const lines = models.map((model) => `      ${JSON.stringify(model)}`).join(',\n');
    return `    ${JSON.stringify(head).slice(0, -1)},"models":[\n${lines}\n    ]}`;
  });
  return `{\n  "version": ${JSON.stringify(book.version)},\n  "providers": [\n${providers.join(',\n')}\n  ]\n}\n`;
}

function packageVersion() {
  const main = createRequire(import.meta.url).resolve('@pydantic/genai-prices');
  return JSON.parse(readFileSync(join(dirname(main), '..', 'package.json'), 'utf8')).version;
}

const catalogue = await waitForUpdate();
const providers = catalogue.map(convertProvider).sort((a, b) => (a.id < b.id ? -1 : 1));
for (const label of ROUNDED) if (!roundedSeen.has(label)) throw new Error(`${label} is exact now: take it out of ROUNDED`);
const text = print({ version: `genai-prices-${packageVersion()}`, providers });

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('libs/pricing/catalogue/base-book.json is not what the installed catalogue gives: run node scripts/build-price-book.mjs and review the diff');
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
  console.log(`${providers.length} providers, ${providers.reduce((sum, provider) => sum + provider.models.length, 0)} models`);
}
