/** `POST /v1/events`, 500 a call, acknowledged after commit, against the yardstick "insert". The worker posts meanwhile, as it does in `npm start`. */
import { publish, rounds } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { eventsTemplate } from './payloads/template.js';
import { InsertYardstick } from './yardsticks/insert.js';

const EVENTS_PER_CALL = 500;
const CONNECTIONS = 8;

export async function ingestBatch(options: BenchOptions): Promise<void> {
  await BenchSession.run('ingest-batch', options, async (session) => {
    const yardstick = await InsertYardstick.open(session.database.yardstickUrl);
    const template = eventsTemplate(EVENTS_PER_CALL, options.tenants, new Date());
    const send = async (run: string, seconds: number) =>
      await session.send({ path: '/v1/events', template, connections: CONNECTIONS, seconds, expect: `"accepted":${EVENTS_PER_CALL}`, run });
    let events = (await send('warm', 2)).events;
    await session.drain();
    const measured = await rounds(options.rounds, async (index) => {
      const probes = await session.probe();
      await session.database.checkpoint();
      const load = await send(`round${index}`, options.seconds);
      events += load.events;
      await session.drain();
      await session.database.checkpoint();
      const beside = { 'p50 ms': load.p50Ms, 'p99 ms': load.p99Ms, 'answered 503': load.refused };
      return { probes, subject: (load.events * 1_000) / load.elapsedMs, yardstick: await yardstick.run(), beside };
    });
    await yardstick.close();
    await session.assertPosted(events);
    const setting = {
      'events a call': EVENTS_PER_CALL,
      'body bytes': template.bytes,
      connections: CONNECTIONS,
      tenants: options.tenants,
      'seconds a round': options.seconds,
    };
    publish({ name: 'ingest-batch', unit: 'events', yardstickName: 'insert', firstBar: 0.4, moonshot: 0.65, setting, rounds: measured });
  });
}
