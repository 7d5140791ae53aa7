import type { Attribution } from './spend-event.js';

export const GATEWAYS = ['api', 'litellm'] as const;
export type Gateway = (typeof GATEWAYS)[number];

/** What to do with an event of a tenant nobody registered. */
export const ON_NEW_TENANT = ['create', 'unknown', 'block'] as const;
export type OnNewTenant = (typeof ON_NEW_TENANT)[number];

/** What a gateway that asks by header may say, each in a header of its own. */
export const AUTHORIZE_HEADER_FIELDS = [
  'tenant_id',
  'user_id',
  'feature',
  'environment',
  'assistant_id',
  'thread_id',
  'request_id',
  'call_id',
  'api_key',
  'api_key_id',
  'provider',
  'model',
  'input_tokens',
  'max_output_tokens',
  'estimated_cost_usd',
  'priority',
  'downgrade',
] as const;
export type AuthorizeHeaderField = (typeof AUTHORIZE_HEADER_FIELDS)[number];

/** Header names in lower case. A field that is named here is read from nowhere else; the others have {@link defaultAuthorizeHeader}. */
export type AuthorizeHeaders = { readonly [field in AuthorizeHeaderField]?: string };

/** "x-tollgate-tenant-id" for `tenant_id`. */
export function defaultAuthorizeHeader(field: AuthorizeHeaderField): string {
  return `x-tollgate-${field.replaceAll('_', '-')}`;
}

const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie', 'x-api-key', 'x-tollgate-key']);

/** The rule that a configured header name breaks, or null. A header that carries credentials may only be read as one. */
export function authorizeHeaderProblem(field: AuthorizeHeaderField, name: string): string | null {
  if (!HEADER_NAME.test(name)) return 'must be a header name in lower case of at most 64 characters';
  if (name === 'x-tollgate-key') return 'is where the gateway itself puts its key';
  return CREDENTIALS.has(name) && field !== 'api_key' ? 'names a header of credentials, which only api_key may be read from' : null;
}

/** One sender of events. Two LiteLLM proxies are two sources: event ids are unique per source. */
export interface Source {
  readonly sourceId: string;
  readonly gateway: Gateway;
  /** Whether a tenant id it names may be created; registered tenants are taken from any source. */
  readonly trustTenant: boolean;
  /** Whether the cost it states is booked as the provider's cost instead of our own rating. */
  readonly trustCost: boolean;
  readonly attribution: Attribution;
  readonly defaults: { readonly environment?: string };
  readonly onNewTenant: OnNewTenant;
  readonly authorizeHeaders: AuthorizeHeaders;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Sources that are there from the start, so that the short forms work without any set-up. */
export const BUILT_IN_SOURCES = { api: 'api', litellm: 'litellm', settle: 'settle', hold: 'hold' } as const;
