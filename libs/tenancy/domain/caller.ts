import type { Scope } from './service-key.js';

/** Who makes a request. */
export interface Caller {
  /** The wire id of the service key, or "admin". */
  readonly keyId: string;
  /** What audit entries and ledger transactions name: "key:<wire key id>" or "admin". */
  readonly actor: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Not null: the caller sees this tenant alone. */
  readonly tenantId: string | null;
  /** Not null: the caller reports for this source alone. */
  readonly sourceId: string | null;
}
