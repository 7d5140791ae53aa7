/** The load generator's process: closed loop, one request at a time on each of n keep-alive connections. */
import { setTimeout as delay } from 'node:timers/promises';
import { ID_LENGTH } from '../payloads/template.js';
import { Connection } from './connection.js';
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
  readonly latenciesMs: number[];
}

async function runLoad(order: LoadOrder): Promise<LoadResult> {
  const connections = await Promise.all(Array.from({ length: order.connections }, async () => await Connection.open(order.port)));
  const tally: Tally = { requests: 0, refused: 0, lastAnswerAt: 0, sampleAnswer: '', latenciesMs: [] };
  const startedAt = performance.now();
  try {
    await Promise.all(connections.map(async (connection, index) => await sendUntil(startedAt + order.durationMs, connection, index, order, tally)));
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
    sampleAnswer: tally.sampleAnswer,
  };
}

async function sendUntil(deadline: number, connection: Connection, index: number, order: LoadOrder, tally: Tally): Promise<void> {
  const head = headOf(order);
  const prefix = `${order.run.padEnd(8, '0').slice(0, 8)}-${String(index).padStart(3, '0')}-`;
  for (let sequence = 0; performance.now() < deadline;) {
    if (paused) {
      await delay(PAUSE_POLL_MS);
      continue;
    }
    const id = prefix + String(sequence).padStart(ID_LENGTH - prefix.length, '0');
    const sentAt = performance.now();
    const answer = await connection.send(head + order.template.segments.join(id));
    tally.lastAnswerAt = performance.now();
    if (answer.status === 503) {
      tally.refused += 1;
      await delay(RETRY_AFTER_503_MS);
      continue;
    }
    if (!answer.body.includes(order.expect)) throw new Error(`unexpected answer ${answer.status}: ${answer.body.slice(0, 500)}`);
    tally.latenciesMs.push(tally.lastAnswerAt - sentAt);
    tally.sampleAnswer ||= answer.body;
    tally.requests += 1;
    sequence += 1;
  }
}

function headOf(order: LoadOrder): string {
  const headers = { host: '127.0.0.1', ...order.headers, 'content-type': order.template.contentType, 'content-length': String(order.template.bytes) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${order.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
