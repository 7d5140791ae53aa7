/**
 * What the store sends for a promise and for its booking, and nothing of what it does around that: a bench measures the scripts by it.
 */
import type { BookedBatch, ReserveCommand } from '../application/quota-store.js';
import { bookedArguments, integer, reserveArguments } from './arguments.js';
import { SCRIPTS, type Script } from './scripts.js';
import { tenantKeys } from './tenant-keys.js';

export interface ScriptCall {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** @param epoch of the server that has the tenant */
export function reserveCall(command: ReserveCommand, epoch: bigint): ScriptCall {
  const { keys } = tenantKeys(command.tenantId);
  return { script: SCRIPTS.reserve, keys, args: [String(epoch), integer(command.nowMs), ...reserveArguments(command)] };
}

/** @param epoch of the server that has the tenant */
export function bookedCall(batch: BookedBatch, nowMs: number, epoch: bigint): ScriptCall {
  const { keys } = tenantKeys(batch.tenantId);
  return { script: SCRIPTS.applyBooked, keys, args: [String(epoch), integer(nowMs), ...bookedArguments(batch)] };
}
