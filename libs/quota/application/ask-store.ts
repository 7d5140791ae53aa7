/**
 * One decision: the candidates as they are, and where all of them are refused the same ones with the longest answer that fits. Authorize asks
 * the store so, and a draft budget that is tried on the past asks its own in the same words, so that both decide alike.
 */
import type { Options, PlanCandidates, PlanInput } from './plan-candidates.js';
import type { ReserveResult } from './quota-store.js';

export interface Asked {
  readonly result: ReserveResult;
  /** What `result` speaks of. */
  readonly options: Options;
}

/** @param reserve asks the store once; what it refuses is asked a second time with shorter answers, and the first refusal is told */
export async function askStore(plans: PlanCandidates, plan: PlanInput, reserve: (options: Options) => Promise<ReserveResult>): Promise<Asked> {
  const options = await plans.execute(plan);
  const result = await reserve(options);
  if (result.kind !== 'refused') return { result, options };
  const [first, ...others] = await plans.cut(plan, options, result.rooms);
  if (first === undefined) return { result, options };
  const shortened: Options = [first, ...others];
  const shorter = await reserve(shortened);
  return shorter.kind === 'refused' ? { result, options } : { result: shorter, options: shortened };
}
