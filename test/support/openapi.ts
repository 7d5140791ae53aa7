/**
 * Reads the API's own OpenAPI document, so that tests about "every route" and "every field" cover routes nobody told them about.
 */
import type { TestApi } from './api.js';

export interface Operation {
  readonly method: string;
  /** As in the document: "/v1/tenants/{tenant_id}". */
  readonly path: string;
  readonly public: boolean;
  readonly pathParams: readonly string[];
  readonly queryParams: readonly string[];
  readonly bodySchema: JsonSchema | null;
  readonly successStatuses: readonly number[];
}

export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly example?: unknown;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
}

interface OpenApi {
  readonly paths: Record<string, Record<string, OpenApiOperation>>;
  readonly components: { readonly schemas?: Record<string, JsonSchema> };
}
interface OpenApiOperation {
  readonly security?: readonly unknown[];
  readonly parameters?: ReadonlyArray<{ readonly in: string; readonly name: string }>;
  readonly requestBody?: { readonly content?: Record<string, { readonly schema?: JsonSchema }> };
  readonly responses?: Record<string, unknown>;
}

/** Every operation of the document, and a reader of its schemas. */
export async function readOpenApi(api: TestApi): Promise<{ operations: readonly Operation[]; resolve: (schema: JsonSchema) => JsonSchema }> {
  const document = (await api.call('GET', '/openapi.json', { key: null })).body as OpenApi;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Operation => ({
      method: method.toUpperCase(),
      path,
      public: (operation.security ?? []).length === 0,
      pathParams: (operation.parameters ?? []).filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name),
      queryParams: (operation.parameters ?? []).filter((parameter) => parameter.in === 'query').map((parameter) => parameter.name),
      bodySchema: Object.entries(operation.requestBody?.content ?? {}).find(([type]) => type.includes('json'))?.[1].schema ?? null,
      successStatuses: Object.keys(operation.responses ?? {})
        .map(Number)
        .filter((status) => status >= 200 && status < 300),
    })),
  );
  const resolve = (schema: JsonSchema): JsonSchema => {
    if (schema.$ref === undefined) return schema;
    const named = document.components.schemas?.[schema.$ref.replace('#/components/schemas/', '')];
    if (named === undefined) throw new Error(`the document lacks ${schema.$ref}`);
    return resolve(named);
  };
  return { operations, resolve };
}

/** Dialects of authorize that answer 200 with a "no" in the body, also to a question they cannot read: their gateway may take an error for a yes. */
export function saysNoInItsBody(operation: Operation): boolean {
  return /^\/v1\/authorize\/(?:litellm|portkey)/.test(operation.path);
}

/** Takes a body of any kind or none for the question of a gateway. */
export function takesAnyBody(operation: Operation): boolean {
  return operation.path.startsWith('/v1/authorize/');
}

/** The path of an operation with its parameters filled in. */
export function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_match, name: string) => encodeURIComponent(params[name] ?? 'x'));
}

/** A value that fits the schema, all optional fields included. */
export function sampleOf(schema: JsonSchema, resolve: (schema: JsonSchema) => JsonSchema): unknown {
  const found = resolve(schema);
  if (found.example !== undefined) return found.example;
  if (found.enum !== undefined) return found.enum[0];
  const variant = (found.anyOf ?? found.oneOf ?? found.allOf)?.[0];
  if (variant !== undefined) return sampleOf(variant, resolve);
  const type = Array.isArray(found.type) ? (found.type as string[])[0] : found.type;
  switch (type) {
    case 'object':
      return Object.fromEntries(Object.entries(found.properties ?? {}).map(([name, property]) => [name, sampleOf(property, resolve)]));
    case 'array':
      return found.items === undefined ? [] : [sampleOf(found.items, resolve)];
    case 'string':
      return found.format === 'date-time' ? '2026-11-22T11:00:00Z' : found.format === 'email' ? 'a@example.com' : 'sample';
    case 'integer':
    case 'number':
      return Math.max(1, found.minimum ?? 1, (found.exclusiveMinimum ?? 0) + 1);
    case 'boolean':
      return true;
    case undefined:
    default:
      return null;
  }
}

/** Paths of every field inside a sample, nested ones included: [["owner"], ["owner", "email"]]. */
export function fieldPaths(value: unknown, prefix: ReadonlyArray<string | number> = []): Array<ReadonlyArray<string | number>> {
  if (typeof value !== 'object' || value === null) return [];
  const entries: Array<[string | number, unknown]> = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
  return entries.flatMap(([key, child]) => [[...prefix, key], ...fieldPaths(child, [...prefix, key])]);
}

/** A copy of `value` with the field at `path` replaced. */
export function withField(value: unknown, path: ReadonlyArray<string | number>, replacement: unknown): unknown {
  const [head, ...rest] = path;
  if (head === undefined) return replacement;
  if (Array.isArray(value)) return value.map((item: unknown, index) => (index === head ? withField(item, rest, replacement) : item));
  return { ...(value as object), [head]: withField((value as Record<string, unknown>)[head], rest, replacement) };
}
