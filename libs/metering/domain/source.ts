import type { Attribution } from './spend-event.js';

export const GATEWAYS = ['api', 'litellm'] as const;
export type Gateway = (typeof GATEWAYS)[number];

/** What to do with an event of a tenant nobody registered. */
export const ON_NEW_TENANT = ['create', 'unknown', 'block'] as const;
export type OnNewTenant = (typeof ON_NEW_TENANT)[number];

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
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Sources that are there from the start, so that the short forms work without any set-up. */
export const BUILT_IN_SOURCES = { api: 'api', litellm: 'litellm', settle: 'settle', hold: 'hold' } as const;
