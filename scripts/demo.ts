/**
 * `npm run demo`: a day of traffic of six tenants, as LiteLLM would have sent it, over HTTP into a running Tollgate (one of its own when
 * none runs), and then the question it is all about: who spent it? The same day on every run; a further run adds it once more.
 */
import { formatUsd, parseUsd, SystemClock, utcMonthLabel, type JsonObject, type Nano } from '#libs/kernel/index.js';
import { CREDITS, dayOfTraffic, type Traffic } from './demo/traffic.js';
import { findOrStartTollgate, type Tollgate } from './demo/tollgate.js';

const SEED = 41;
const PAYLOADS_PER_CALL = 250;
const SENDERS = 4;
const POSTED_WITHIN_MS = 120_000;
const POLL_MS = 250;
const DAY_MS = 86_400_000;
const BAR_WIDTH = 40;

interface SpendRow {
  readonly tenant_id: string;
  readonly provider: string;
  readonly model: string;
  readonly requests: number;
  readonly cost_usd: string;
}

type Call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<unknown>;

let lastProgress = '';
const now = new SystemClock().now();
const tollgate = await findOrStartTollgate();
try {
  await runDemo(tollgate);
} finally {
  await tollgate.close();
}

async function runDemo({ url, adminKey, ownServer }: Tollgate): Promise<void> {
  print(ownServer ? `No server runs, so the demo started one at ${url}; it is thrown away at the end.` : `Sending to ${url}.`);
  const call = caller(url, adminKey);
  const run = `demo-${now.toISOString().slice(0, 19)}`;
  const traffic = dayOfTraffic({ seed: SEED, endSeconds: Math.floor(now.getTime() / 1000) - 1, label: run });
  await grantCredits(call, run);
  const { key } = (await call('POST', '/v1/service-keys', { name: 'demo gateway', scopes: ['ingest'] })) as { key: string };
  const before = await reportRows(call);
  await send(caller(url, key), traffic);
  const rows = await waitUntilPosted(call, traffic, totalOf(before));
  printReport(rows);
  await printWhoSpentIt(call, rows);
  await printBalances(call);
}

async function grantCredits(call: Call, run: string): Promise<void> {
  for (const [tenantId, amount] of Object.entries(CREDITS)) {
    await call('PUT', `/v1/tenants/${tenantId}`, { name: tenantId });
    await call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: amount, kind: 'paid', reference: 'demo' }, { 'idempotency-key': `${run}-${tenantId}` });
  }
  print(`${Object.keys(CREDITS).length} prepaid tenants, ${sumOf(Object.values(CREDITS))} USD of credit between them.\n`);
}

/** Sends everything, a few calls at a time, each call a batch as LiteLLM's callback makes it. */
async function send(call: Call, traffic: Traffic): Promise<void> {
  const batches: (readonly JsonObject[])[] = [];
  for (let from = 0; from < traffic.payloads.length; from += PAYLOADS_PER_CALL) batches.push(traffic.payloads.slice(from, from + PAYLOADS_PER_CALL));
  const started = performance.now();
  let next = 0;
  let sent = 0;
  const sender = async (): Promise<void> => {
    for (let batch = batches[next++]; batch; batch = batches[next++]) {
      const answer = (await call('POST', '/v1/webhooks/litellm', batch)) as { accepted: number };
      if (answer.accepted !== batch.length) throw new Error(`not all of ${batch.length} payloads were accepted: ${JSON.stringify(answer)}`);
      sent += batch.length;
      progress('sent', sent, traffic.payloads.length);
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, sender));
  const seconds = (performance.now() - started) / 1000;
  print(`\n${sent} payloads in ${seconds.toPrecision(3)} s, ${Math.round(sent / seconds)} a second.\n`);
}

/** Waits until Report A has grown by exactly what the demo worked out for itself, to the nano-dollar. */
async function waitUntilPosted(call: Call, traffic: Traffic, before: Nano): Promise<SpendRow[]> {
  for (const deadline = performance.now() + POSTED_WITHIN_MS; ;) {
    const rows = await reportRows(call);
    const grown = totalOf(rows) - before;
    progress('posted', Number((grown * 1_000n) / traffic.totalCost), 1_000);
    if (grown === traffic.totalCost) {
      print(`\nWorked out by the demo: ${formatUsd(traffic.totalCost)} USD. In Tollgate's ledger: ${formatUsd(grown)} USD.\n`);
      return rows;
    }
    if (performance.now() > deadline)
      throw new Error(`posted ${formatUsd(grown)} USD instead of ${formatUsd(traffic.totalCost)}; does someone else send events of these tenants?`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Report A of the demo's tenants; a day may lie in two months. */
async function reportRows(call: Call): Promise<SpendRow[]> {
  const months = new Set([utcMonthLabel(new Date(now.getTime() - DAY_MS)), utcMonthLabel(now)]);
  const rows: SpendRow[] = [];
  for (const month of months) {
    for (const tenantId of Object.keys(CREDITS)) {
      rows.push(...(await allPages<SpendRow>(call, `/v1/reports/monthly-spend?month=${month}&tenant_id=${tenantId}&limit=500`)));
    }
  }
  return rows.sort((a, b) => compare(parseUsd(b.cost_usd), parseUsd(a.cost_usd)));
}

function printReport(rows: readonly SpendRow[]): void {
  const total = totalOf(rows);
  print('Report A, dearest first');
  print(line('tenant', 'model', 'requests', 'USD', 'share'));
  for (const row of rows.slice(0, 8)) print(line(row.tenant_id, row.model, String(row.requests), row.cost_usd, percentOf(parseUsd(row.cost_usd), total)));
  print(line('all', '', String(rows.reduce((sum, row) => sum + row.requests, 0)), formatUsd(total), '100.0 %'));
}

/** From the dearest row down to the feature and the user, out of the events themselves. */
async function printWhoSpentIt(call: Call, rows: readonly SpendRow[]): Promise<void> {
  const total = totalOf(rows);
  const [top] = rows;
  if (!top) return;
  const path = `/v1/events?tenant_id=${top.tenant_id}&model=${top.model}&limit=500`;
  const events = await allPages<SpendEvent>(call, path);
  const [feature, cost] = dearest(events, (event) => event.feature);
  const [user, userCost] = dearest(
    events.filter((event) => event.feature === feature),
    (event) => event.user_id,
  );
  print(`\nWho spent it? ${feature} of ${top.tenant_id}: ${formatUsd(cost)} USD, ${percentOf(cost, total)} of the bill;`);
  print(`${formatUsd(userCost)} USD of it by ${user}.\n`);
}

interface SpendEvent {
  readonly feature: string | null;
  readonly user_id: string | null;
  readonly cost_usd: string | null;
}

function dearest(events: readonly SpendEvent[], by: (event: SpendEvent) => string | null): [string, Nano] {
  const spent = new Map<string, Nano>();
  for (const event of events) {
    const who = by(event) ?? 'nobody named';
    spent.set(who, (spent.get(who) ?? 0n) + parseUsd(event.cost_usd ?? '0'));
  }
  return [...spent].sort(([, a], [, b]) => compare(b, a))[0] ?? ['nobody', 0n];
}

async function printBalances(call: Call): Promise<void> {
  print(line('tenant', '', '', 'credit left', 'owed'));
  for (const tenantId of Object.keys(CREDITS)) {
    const balance = (await call('GET', `/v1/tenants/${tenantId}/balance`)) as { posted_usd: string; receivable_usd: string };
    print(line(tenantId, '', '', balance.posted_usd, balance.receivable_usd));
  }
}

function caller(url: string, key: string): Call {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  };
}

async function allPages<Row>(call: Call, path: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = (await call('GET', cursor === '' ? path : `${path}&cursor=${encodeURIComponent(cursor)}`)) as { data: Row[]; next_cursor: string | null };
    rows.push(...page.data);
    cursor = page.next_cursor;
  }
  return rows;
}

function totalOf(rows: readonly SpendRow[]): Nano {
  return rows.reduce((sum, row) => sum + parseUsd(row.cost_usd), 0n);
}

function sumOf(amounts: readonly string[]): string {
  return formatUsd(amounts.reduce((sum, amount) => sum + parseUsd(amount), 0n)).replace(/\.?0+$/, '');
}

function percentOf(part: Nano, whole: Nano): string {
  const tenths = whole === 0n ? 0n : (part * 1_000n + whole / 2n) / whole;
  return `${tenths / 10n}.${tenths % 10n} %`;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function line(tenant: string, model: string, requests: string, usd: string, share: string): string {
  return `  ${tenant.padEnd(10)}${model.padEnd(28)}${requests.padStart(9)}${usd.padStart(18)}${share.padStart(16)}`;
}

/** A bar on a terminal; elsewhere a line per quarter. */
function progress(what: string, done: number, all: number): void {
  const share = Math.max(0, Math.min(1, done / all));
  const percent = Math.floor(share * 100);
  if (process.stdout.isTTY) {
    const filled = Math.round(share * BAR_WIDTH);
    process.stdout.write(`\r  ${what.padEnd(7)} [${'='.repeat(filled)}${' '.repeat(BAR_WIDTH - filled)}] ${percent} %`);
    return;
  }
  const reached = `${what} ${percent - (percent % 25)} %`;
  if (reached === lastProgress) return;
  lastProgress = reached;
  print(`  ${reached}`);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
