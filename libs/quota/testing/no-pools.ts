import { LeasePools, type PoolAnswer, type PoolAsk } from '../application/lease-pools.js';

/** Of a world in which tenants share nothing. */
export class NoPools extends LeasePools {
  override async grant(_epoch: bigint, asks: readonly PoolAsk[]): Promise<PoolAnswer[]> {
    return asks.map(() => ({ kind: 'denied', room: 0n, missing: 0n, spent: true }));
  }

  override async touch(): Promise<never[]> {
    return [];
  }

  override async giveBack(): Promise<number> {
    return 0;
  }

  override async holders(): Promise<never[]> {
    return [];
  }

  override async toLookAt(): Promise<never[]> {
    return [];
  }

  override async dropOld(): Promise<never[]> {
    return [];
  }
}
