/** `npm run bench [name] [-- --rounds 5 --seconds 8 --tenants 100 --profile]`: without a name, every bench. */
import { parseArgs } from 'node:util';
import { authorizeLatency } from './authorize-latency.js';
import { authorizeMemory, authorizeRedis } from './authorize-memory.js';
import { flatCost } from './flat-cost.js';
import type { BenchOptions } from './harness/session.js';
import { ingestBatch } from './ingest-batch.js';
import { ingestWebhook } from './ingest-webhook.js';
import { lastDollar, lastDollarRedis } from './last-dollar.js';
import { lastDollarShared } from './last-dollar-shared.js';
import { pipeline } from './pipeline.js';
import { memory, rebuild } from './quota-state.js';
import { reserveScript } from './reserve-script.js';

const BENCHES: Readonly<Record<string, { run: (options: BenchOptions) => Promise<void>; seconds: number }>> = {
  'ingest-batch': { run: ingestBatch, seconds: 8 },
  'ingest-webhook': { run: ingestWebhook, seconds: 8 },
  pipeline: { run: pipeline, seconds: 60 },
  'authorize-memory': { run: authorizeMemory, seconds: 8 },
  'authorize-redis': { run: authorizeRedis, seconds: 8 },
  'reserve-script': { run: reserveScript, seconds: 5 },
  'authorize-latency': { run: authorizeLatency, seconds: 8 },
  'last-dollar': { run: lastDollar, seconds: 0 },
  'last-dollar-redis': { run: lastDollarRedis, seconds: 0 },
  'last-dollar-shared': { run: lastDollarShared, seconds: 0 },
  memory: { run: memory, seconds: 0 },
  rebuild: { run: rebuild, seconds: 0 },
  'flat-cost': { run: flatCost, seconds: 0 },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string' },
    tenants: { type: 'string', default: '100' },
    profile: { type: 'boolean', default: false },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  console.error(`no bench named ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 1;
} else {
  for (const name of names) {
    const bench = BENCHES[name];
    if (!bench) continue;
    console.log(`\n${name}`);
    await bench.run({
      rounds: Number(values.rounds),
      seconds: Number(values.seconds ?? bench.seconds),
      tenants: Number(values.tenants),
      profile: values.profile,
    });
  }
}
