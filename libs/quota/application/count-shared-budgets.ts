/**
 * Adds up what all tenants have booked of shared budgets: postings leave it in rows of their own, because they would all wait for one. What is
 * told of a shared budget, its crossings and how much is spent, is therefore behind its bookings by up to a second; what is promised is not.
 */
import type { Clock } from '#libs/kernel/index.js';

/** Adds up to `limit` rows; returns how many. @throws DomainError storage.unavailable */
export type AddUp = (at: Date, limit: number) => Promise<number>;

const BATCH = 2_000;

export class CountSharedBudgets {
  constructor(
    private readonly addUp: AddUp,
    /** Adds to the pools what tenants used beyond their grants; the pools do it themselves before they grant. */
    private readonly cover: AddUp,
    private readonly clock: Clock,
  ) {}

  /** Returns how many rows there were. @throws DomainError storage.unavailable */
  async execute(): Promise<number> {
    let added = 0;
    for (const work of [this.addUp, this.cover]) {
      for (let rows = BATCH; rows === BATCH; added += rows) rows = await work(this.clock.now(), BATCH);
    }
    return added;
  }
}
