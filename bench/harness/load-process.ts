/** The load generator's process: closed loop, one request at a time on each of n keep-alive connections. */
import { setTimeout as delay } from 'node:timers/promises';
import { ID_LENGTH } from '../payloads/template.js';
import { Connection, type Answer } from './connection.js';
import type { LoadOrder, LoadResult } from './load.js';

const PAUSE_POLL_MS = 5;
const RETRY_AFTER_503_MS = 20;
let paused = false;

process.on('message', (message: LoadOrder | { paused: boolean }) => {
  if ('paused' in message) {
    paused = message.paused;
    return;
  }
  paused = false;
  runLoad(message).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ failure: String(error) }),
  );
});

interface Tally {
  requests: number;
  refused: number;
  lastAnswerAt: number;
  sampleAnswer: string;
  others: number;
  readonly latenciesMs: number[];
  readonly holdIds: string[];
}

async function runLoad(order: LoadOrder): Promise<LoadResult> {
  const connections = await Promise.all(Array.from({ length: order.connections }, async () => await Connection.open(order.port)));
  const tally: Tally = { requests: 0, refused: 0, lastAnswerAt: 0, sampleAnswer: '', others: 0, latenciesMs: [], holdIds: [] };
  const startedAt = performance.now();
  try {
    if (order.ratePerS === undefined)
      await Promise.all(connections.map(async (connection, index) => await sendUntil(startedAt + order.durationMs, connection, index, order, tally)));
    else await sendAtRate(startedAt, connections, order, order.ratePerS, tally);
    if (order.release) await releaseAll(connections, order, tally.holdIds.slice(order.release.keep));
  } finally {
    for (const connection of connections) connection.close();
  }
  const sorted = tally.latenciesMs.sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    requests: tally.requests,
    events: tally.requests * order.template.events,
    refused: tally.refused,
    elapsedMs: tally.lastAnswerAt - startedAt,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    others: tally.others,
    sampleAnswer: tally.sampleAnswer,
  };
}

async function sendUntil(deadline: number, connection: Connection, index: number, order: LoadOrder, tally: Tally): Promise<void> {
  const head = headOf(order);
  const prefix = `${order.run.padEnd(8, '0').slice(0, 8)}-${String(index).padStart(3, '0')}-`;
  const total = order.once ? Math.ceil(((order.variants?.length ?? 0) - index) / order.connections) : Number.POSITIVE_INFINITY;
  for (let sequence = 0; sequence < total && (order.once || performance.now() < deadline);) {
    if (paused) {
      await delay(PAUSE_POLL_MS);
      continue;
    }
    const id = prefix + String(sequence).padStart(ID_LENGTH - prefix.length, '0');
    const sentAt = performance.now();
    const answer = await connection.send(head + segmentsOf(order, index + sequence * order.connections).join(id));
    tally.lastAnswerAt = performance.now();
    if (answer.status === 503) {
      tally.refused += 1;
      await delay(RETRY_AFTER_503_MS);
      continue;
    }
    take(answer, sentAt, order, tally);
    sequence += 1;
  }
}

function segmentsOf(order: LoadOrder, turn: number): readonly string[] {
  const { variants } = order;
  return variants?.[turn % variants.length] ?? order.template.segments;
}

function take(answer: Answer, sentAt: number, order: LoadOrder, tally: Tally): void {
  if (answer.body.includes(order.expect)) tally.requests += 1;
  else if (order.other !== undefined && answer.body.includes(order.other)) tally.others += 1;
  else throw new Error(`unexpected answer ${answer.status}: ${answer.body.slice(0, 500)}`);
  tally.latenciesMs.push(tally.lastAnswerAt - sentAt);
  tally.sampleAnswer ||= answer.body;
  const holdId = order.release === undefined ? undefined : /"hold_id":"([^"]+)"/.exec(answer.body)?.[1];
  if (holdId !== undefined) tally.holdIds.push(holdId);
}

/**
 * Each request has its time, to the millisecond; what waits for a free connection waits on the clock, so a slow server cannot slow its own
 * measurement down. The generator sleeps in between: spinning would take a core from the server.
 */
async function sendAtRate(startedAt: number, connections: readonly Connection[], order: LoadOrder, ratePerS: number, tally: Tally): Promise<void> {
  const head = headOf(order);
  const total = Math.floor((order.durationMs * ratePerS) / 1_000);
  const idle = [...connections];
  const running = new Set<Promise<void>>();
  const waiting: number[] = [];
  for (let due = 0, sequence = 0; sequence < total;) {
    const now = performance.now();
    for (const until = Math.min(total, Math.floor(((now - startedAt) * ratePerS) / 1_000)); due < until; due += 1) waiting.push(now);
    while (waiting.length > 0 && idle.length > 0) {
      const connection = idle.pop() as Connection;
      const dueAt = waiting.shift() as number;
      const id = `${order.run.padEnd(8, '0').slice(0, 8)}-${String(sequence).padStart(ID_LENGTH - 9, '0')}`;
      const work = connection.send(head + segmentsOf(order, sequence).join(id)).then((answer) => {
        tally.lastAnswerAt = performance.now();
        take(answer, dueAt, order, tally);
        idle.push(connection);
        running.delete(work);
      });
      running.add(work);
      sequence += 1;
    }
    await delay(1);
  }
  await Promise.all(running);
}

async function releaseAll(connections: readonly Connection[], order: LoadOrder, holdIds: readonly string[]): Promise<void> {
  await Promise.all(
    connections.map(async (connection, index) => {
      for (let turn = index; turn < holdIds.length; turn += connections.length) {
        const answer = await connection.send(
          headOf({ ...order, path: `/v1/holds/${holdIds[turn]}/release`, template: { ...order.template, bytes: 2 } }) + '{}',
        );
        if (answer.status !== 200) throw new Error(`a hold was not released: ${answer.status} ${answer.body}`);
      }
    }),
  );
}

function headOf(order: LoadOrder): string {
  const headers = { host: '127.0.0.1', ...order.headers, 'content-type': order.template.contentType, 'content-length': String(order.template.bytes) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${order.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
