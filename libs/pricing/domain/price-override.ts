/**
 * An operator's price for a model, revision by revision. A revision takes over from its `effectiveFrom`; what happened before it keeps
 * the revision that held then, however late it is reported (S5). A revision that ends leaves the list price, not an older revision.
 */
import type { FemtoPrice } from '../../kernel/index.js';
import { flatPrice, type ComponentPrice, type PriceTable } from './price-table.js';
import type { Component } from './usage.js';

/** Provider and model of an override that prices meters whatever the model is. */
export const ANY = '*';

/** When a price that was never there before begins: a first price is no change, so it also prices what waited for it. */
export const ALWAYS = new Date(0);

export interface OverrideRevision {
  readonly overrideId: string;
  readonly revision: number;
  /** As the operator wrote them; `*` and `*` for meters of every model. */
  readonly provider: string;
  readonly model: string;
  readonly prices: ReadonlyMap<Component, FemtoPrice>;
  readonly effectiveFrom: Date;
  readonly effectiveTo: Date | null;
  readonly createdAt: Date;
}

/** The revision that holds at `at`, or undefined. `revisions` of one override, any order. */
export function governingRevision(revisions: readonly OverrideRevision[], at: Date): OverrideRevision | undefined {
  let governing: OverrideRevision | undefined;
  for (const revision of revisions) {
    if (revision.effectiveFrom <= at && (governing === undefined || revision.revision > governing.revision)) governing = revision;
  }
  if (governing === undefined || (governing.effectiveTo !== null && governing.effectiveTo <= at)) return undefined;
  return governing;
}

/** Instants at which any of the revisions may change a price, in milliseconds. */
export function changePoints(revisions: readonly OverrideRevision[]): number[] {
  return revisions.flatMap((revision) => [revision.effectiveFrom.getTime(), ...(revision.effectiveTo === null ? [] : [revision.effectiveTo.getTime()])]);
}

/** `prices` with the revisions laid over it, the later start last: per component the last one wins, what it leaves out stays. */
export function overlay(prices: PriceTable, revisions: readonly OverrideRevision[]): PriceTable {
  if (revisions.length === 0) return prices;
  const merged = new Map<Component, ComponentPrice>(prices);
  for (const revision of revisions) for (const [component, price] of revision.prices) merged.set(component, flatPrice(price));
  return merged;
}

/** Order of application: earlier starts first, then earlier decisions, then by id so that the order is total. */
export function byStart(a: OverrideRevision, b: OverrideRevision): number {
  return a.effectiveFrom.getTime() - b.effectiveFrom.getTime() || a.createdAt.getTime() - b.createdAt.getTime() || (a.overrideId < b.overrideId ? -1 : 1);
}
