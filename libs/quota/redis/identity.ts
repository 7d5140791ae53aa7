/**
 * Who a Redis server is and whether quota state may be kept there, from its INFO. `run_id` is made anew at every start, which is what tells a
 * server that came back with old data from one that never left.
 */
export interface ServerIdentity {
  readonly runId: string;
  /** Why it cannot keep quota state. */
  readonly problem: string | null;
}

/** @param info the text of INFO */
export function identityOf(info: string): ServerIdentity {
  const fields = new Map(info.split('\r\n').map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
  const runId = fields.get('run_id') ?? '';
  const policy = fields.get('maxmemory_policy') ?? 'unknown';
  const role = fields.get('role') ?? 'unknown';
  if (runId === '') return { runId, problem: 'the Redis server does not tell its run_id' };
  if (policy !== 'noeviction')
    return { runId, problem: `Redis runs with maxmemory-policy ${policy}; quota state must not be evicted: set maxmemory-policy noeviction` };
  if (role !== 'master') return { runId, problem: `the Redis server is a ${role}; quota state is kept on a master` };
  return { runId, problem: null };
}
