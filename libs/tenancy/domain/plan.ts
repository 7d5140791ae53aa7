/** A plan gives its tenants a rate card. */
export interface Plan {
  readonly planId: string;
  readonly name: string;
  /** Null: no markup. */
  readonly rateCardId: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
