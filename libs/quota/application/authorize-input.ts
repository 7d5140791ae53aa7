import type { Nano } from '#libs/kernel/index.js';

/** What a caller says about the call it is about to make. */
export interface AuthorizeInput {
  readonly tenantId: string | null;
  readonly callId: string | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly inputTokens: number | null;
  readonly maxOutputTokens: number | null;
  readonly estimatedCostNano: Nano | null;
  readonly userId: string | null;
  readonly feature: string | null;
  readonly environment: string | null;
  readonly assistantId: string | null;
  readonly threadId: string | null;
  /** The text of one of the tenant's keys; never kept or logged. */
  readonly apiKey: string | null;
  readonly apiKeyId: string | null;
  readonly requestId: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
  /** Thresholds that spare critical calls spare this one. */
  readonly critical: boolean;
  /** Whose names for models the call uses; '' is everybody's. */
  readonly sourceId: string;
  /** Whether the asking source may name tenants that nobody registered; asked only for such a tenant. */
  readonly maySetUpTenants: () => Promise<boolean>;
  /** Whether the caller is in the path of the call, so that an unanswered hold was most likely used. */
  readonly inPath: boolean;
}
