/**
 * Events a second from the first byte in until everything is posted, rolled up and settled, sustained, against the yardstick "insert".
 * The sender holds back while the backlog is large: what counts is the rate of the whole, and the clock stops when the last event is posted.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { publish, rounds } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import type { BodyTemplate } from './payloads/template.js';
import { eventsTemplate } from './payloads/template.js';
import { InsertYardstick } from './yardsticks/insert.js';

const EVENTS_PER_CALL = 500;
const CONNECTIONS = 4;
/** Enough that the poster never waits, little enough that the drain at the end is a small part of the run. */
const BACKLOG_HIGH = 20_000;
const BACKLOG_LOW = 10_000;
const POLL_MS = 100;

export async function pipeline(options: BenchOptions): Promise<void> {
  await BenchSession.run('pipeline', options, async (session) => {
    const yardstick = await InsertYardstick.open(session.database.yardstickUrl);
    const template = eventsTemplate(EVENTS_PER_CALL, options.tenants, new Date());
    let events = (await sustained(session, template, 2, 'warm')).events;
    const measured = await rounds(options.rounds, async (index) => {
      const probes = await session.probe();
      await session.database.checkpoint();
      const run = await sustained(session, template, options.seconds, `round${index}`);
      events += run.events;
      await session.database.checkpoint();
      return {
        probes,
        subject: (run.events * 1_000) / run.elapsedMs,
        yardstick: await yardstick.run(),
        beside: { seconds: run.elapsedMs / 1_000, events: run.events },
      };
    });
    await yardstick.close();
    await session.assertPosted(events);
    const setting = {
      'events a call': EVENTS_PER_CALL,
      'body bytes': template.bytes,
      connections: CONNECTIONS,
      tenants: options.tenants,
      'seconds of sending': options.seconds,
      'largest backlog': BACKLOG_HIGH,
    };
    publish({ name: 'pipeline', unit: 'events', yardstickName: 'insert', firstBar: 0.15, moonshot: 0.35, setting, rounds: measured });
  });
}

async function sustained(session: BenchSession, template: BodyTemplate, seconds: number, run: string): Promise<{ events: number; elapsedMs: number }> {
  const startedAt = performance.now();
  const state = { sending: true };
  const sent = session.send({ path: '/v1/events', template, connections: CONNECTIONS, seconds, expect: `"accepted":${EVENTS_PER_CALL}`, run });
  const holdBack = async (): Promise<void> => {
    for (let paused = false; state.sending; await delay(POLL_MS)) {
      const backlog = await session.backlog();
      const wanted: boolean = paused ? backlog > BACKLOG_LOW : backlog > BACKLOG_HIGH;
      if (wanted !== paused) session.load.pause(wanted);
      paused = wanted;
    }
  };
  const holding = holdBack();
  const load = await sent.finally(() => (state.sending = false));
  await holding;
  await session.drain();
  return { events: load.events, elapsedMs: performance.now() - startedAt };
}
