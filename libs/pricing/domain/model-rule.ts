/**
 * Which names are a listed model. The catalogue's rules are loose on purpose ("starts with claude-sonnet-5" also takes a model that
 * does not exist yet); a bill must not guess. So a rule's text has to be the whole name but for a version: a date, "-latest",
 * "-v1:0", "-preview-05-06". "claude-opus-4-5-20251101" is Opus 4.5; "claude-opus-4-5-turbo-x" is nobody's model and stays unpriced.
 */

/** The catalogue's rule language. `regex` comes from the committed book only, never from a caller. */
export type ModelRule =
  | { readonly equals: string }
  | { readonly starts_with: string }
  | { readonly ends_with: string }
  | { readonly contains: string }
  | { readonly regex: string }
  | { readonly and: readonly ModelRule[] }
  | { readonly or: readonly ModelRule[] };

const VERSION = '(?:\\d{4}-\\d{2}-\\d{2}|\\d{2}-\\d{4}|\\d{2}-\\d{2}|\\d{8}|\\d{3,4}|latest|preview|exp|default|v\\d+)';
/** A bare number of one or two digits is a version only after a colon ("-v1:0"): "-5" may be the next model. */
const VERSIONS = new RegExp(`^(?:[-@:]${VERSION}|:\\d{1,2})*$`);
/** A rule that ends in a separator expects its version at once. */
const LEADING_VERSION = new RegExp(`^${VERSION}$`);
/** Routing in front of a name: a path, or Bedrock's region and vendor labels ("us.anthropic."). */
const ROUTE = /^(?:.*\/)?(?:[a-z-]+\.)*$/;
/** Fine-tuned models carry the customer's own text after the base model's name. */
const FINE_TUNED = /^ft:|\.ft-$/;

/** Compiles a rule to a test on lower-case names. */
export function compileRule(rule: ModelRule): (name: string) => boolean {
  if ('or' in rule) return anyOf(rule.or.map(compileRule));
  if ('and' in rule) return allOf(rule.and.map(compileRule));
  if ('regex' in rule) {
    const pattern = new RegExp(rule.regex);
    return (name) => pattern.test(name);
  }
  if ('equals' in rule) {
    const text = rule.equals.toLowerCase();
    return (name) => name === text;
  }
  if ('starts_with' in rule) {
    const text = rule.starts_with.toLowerCase();
    return (name) => name.startsWith(text) && isVersionAfter(text, name.slice(text.length));
  }
  if ('ends_with' in rule) {
    const text = rule.ends_with.toLowerCase();
    return (name) => name.endsWith(text) && ROUTE.test(name.slice(0, -text.length));
  }
  const text = rule.contains.toLowerCase();
  return (name) => {
    const at = name.indexOf(text);
    return at >= 0 && ROUTE.test(name.slice(0, at)) && isVersionAfter(text, name.slice(at + text.length));
  };
}

/** As the catalogue means it: only to guess whose model a name without a provider is. */
export function compileLooseRule(rule: ModelRule): (name: string) => boolean {
  if ('or' in rule) return anyOf(rule.or.map(compileLooseRule));
  if ('and' in rule) return allOf(rule.and.map(compileLooseRule));
  if ('starts_with' in rule) return (name) => name.startsWith(rule.starts_with.toLowerCase());
  if ('ends_with' in rule) return (name) => name.endsWith(rule.ends_with.toLowerCase());
  if ('contains' in rule) return (name) => name.includes(rule.contains.toLowerCase());
  return compileRule(rule);
}

function isVersionAfter(text: string, rest: string): boolean {
  if (rest === '' || FINE_TUNED.test(text)) return true;
  if (/[-@:]$/.test(text)) return LEADING_VERSION.test(rest);
  // "claude-sonnet-4-2025" and "gemini-2.0-flash-0" stop inside a date or a revision.
  if (/-20\d\d$/.test(text)) return /^\d{4}(?:-v\d+(?::\d+)?)?$/.test(rest);
  if (text.endsWith('-0') && /^\d{2}$/.test(rest)) return true;
  return VERSIONS.test(rest);
}

function anyOf(tests: readonly ((name: string) => boolean)[]): (name: string) => boolean {
  return (name) => tests.some((test) => test(name));
}

function allOf(tests: readonly ((name: string) => boolean)[]): (name: string) => boolean {
  return (name) => tests.every((test) => test(name));
}
