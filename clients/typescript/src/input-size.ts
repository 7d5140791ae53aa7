/**
 * How much a request will be counted as input, from its bytes: three to a token, the estimate the server itself uses. It errs upwards for
 * English and is about right for code and Chinese. Pictures and files count as what providers take for them, not as their base64.
 */

const BYTES_PER_TOKEN = 3;
/** The most a provider counts for one picture of ordinary size. */
const BYTES_PER_IMAGE = 1_600 * BYTES_PER_TOKEN;
/** Base64 of a PDF or a recording is some 30 bytes a token. */
const MEDIA_DISCOUNT = 10;
const MEDIA_FIELDS: ReadonlySet<string> = new Set(['data', 'file_data', 'b64_json']);
const INPUT_FIELDS = ['messages', 'input', 'instructions', 'prompt', 'tools', 'functions', 'response_format', 'text'];
const MAX_DEPTH = 32;

/** Tokens, rounded up. */
export function inputTokensOf(body: Readonly<Record<string, unknown>>): number {
  return tokensOf(INPUT_FIELDS.reduce((sum, field) => sum + sizeOf(body[field], 0), 0));
}

/** Tokens of that many bytes of UTF-8, rounded up. */
export function tokensOf(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

/** Bytes of UTF-8, without encoding. */
export function byteLength(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    // Two for most of Europe's letters; three beyond, of which a surrogate pair's four are two halves of two.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}

function sizeOf(value: unknown, depth: number): number {
  if (typeof value === 'string') {
    if (!value.startsWith('data:')) return byteLength(value);
    return value.startsWith('data:image/') ? BYTES_PER_IMAGE : Math.ceil(value.length / MEDIA_DISCOUNT);
  }
  // Numbers are token ids.
  if (typeof value === 'number') return BYTES_PER_TOKEN;
  if (typeof value !== 'object' || value === null || depth >= MAX_DEPTH) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + sizeOf(item, depth + 1), 0);
  return Object.entries(value).reduce((sum, [name, item]) => {
    if (MEDIA_FIELDS.has(name) && typeof item === 'string') return sum + Math.ceil(item.length / MEDIA_DISCOUNT);
    return sum + byteLength(name) + sizeOf(item, depth + 1);
  }, 0);
}
