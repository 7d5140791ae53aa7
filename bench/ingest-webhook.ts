/** `POST /v1/webhooks/litellm`, one 5.7 KB payload a call, distinct ids, 64 connections, against "bare" with "empty" shown beside. */
import { publish, rounds } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { litellmTemplate } from './payloads/template.js';
import { HttpYardstick } from './yardsticks/http-yardstick.js';

const CONNECTIONS = 64;
const ACCEPTED = '"accepted":1';

export async function ingestWebhook(options: BenchOptions): Promise<void> {
  await BenchSession.run('ingest-webhook', options, async (session) => {
    const template = litellmTemplate(new Date());
    const send = async (run: string, seconds: number, server?: HttpYardstick) =>
      await session.send({
        path: server ? '/' : '/v1/webhooks/litellm',
        template,
        connections: CONNECTIONS,
        seconds,
        expect: ACCEPTED,
        run,
        ...(server && { port: server.port }),
      });
    const warmUp = await send('warm', 2);
    await session.drain();
    const answer: unknown = JSON.parse(warmUp.sampleAnswer);
    const bare = await HttpYardstick.start('bare', answer);
    const empty = await HttpYardstick.start('empty', answer);
    await send('warmbare', 1, bare);
    await send('warmempt', 1, empty);
    let events = warmUp.events;
    const measured = await rounds(options.rounds, async (index) => {
      const probes = await session.probe();
      await session.database.checkpoint();
      const load = await send(`round${index}`, options.seconds);
      events += load.events;
      await session.drain();
      const onBare = await send(`bare${index}`, options.seconds, bare);
      const onEmpty = await send(`empty${index}`, options.seconds, empty);
      const beside = { 'empty/s': perSecond(onEmpty), 'p50 ms': load.p50Ms, 'p99 ms': load.p99Ms, 'answered 503': load.refused };
      return { probes, subject: perSecond(load), yardstick: perSecond(onBare), beside };
    });
    bare.stop();
    empty.stop();
    await session.assertPosted(events);
    const setting = { 'body bytes': template.bytes, 'answer bytes': warmUp.sampleAnswer.length, connections: CONNECTIONS, 'seconds a round': options.seconds };
    publish({ name: 'ingest-webhook', unit: 'requests', yardstickName: 'bare', firstBar: 0.3, moonshot: 0.55, setting, rounds: measured });
  });
}

function perSecond(load: { requests: number; elapsedMs: number }): number {
  return (load.requests * 1_000) / load.elapsedMs;
}
