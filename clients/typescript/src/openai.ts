/**
 * `withTollgate(openai, {tollgate, tenantId, ...})`: the official client, metered. It works where every method of that client ends, in its
 * `post`, so that `create`, `parse`, `stream` and `runTools` are all covered, keep their types and their promises' own methods, and none
 * of them can go around it. Calls that cost money and cannot be measured here are refused, not let through.
 */
import type { OpenAI } from 'openai';
import { TollgateUnmeteredError } from './errors.js';
import { MeteredCall, type MeteringSettings } from './metered-call.js';
import { meteredStream, type StreamOf } from './metered-stream.js';
import { routeOf, type Body } from './openai-request.js';
import { Tally } from './openai-usage.js';

export type { Attribution, MeteringSettings } from './metered-call.js';

type Post = OpenAI['post'];
type PostOptions = Parameters<Post>[1];

/**
 * A copy of `openai` whose calls are asked for, swapped to the decided model, and reported. Cheap: make one per request or per tenant.
 * Its calls reject with TollgateBlockedError before anything is sent, and with TollgateTenantError outside production without a tenant.
 */
export function withTollgate<Client extends OpenAI>(openai: Client, settings: MeteringSettings): Client {
  const metered = openai.withOptions({});
  const send: Post = metered.post.bind(metered);
  const post = ((path: string, options?: PostOptions) => meteredPost(send, settings, path, options)) as Post;
  // Copies made of the copy stay metered.
  const withOptions = ((changes: Parameters<OpenAI['withOptions']>[0]) => withTollgate(openai.withOptions(changes), settings)) as Client['withOptions'];
  return Object.assign(metered, { post, withOptions });
}

function meteredPost(send: Post, settings: MeteringSettings, path: string, options: PostOptions): ReturnType<Post> {
  const route = routeOf(path);
  if (route === 'free') return send(path, options);
  if (route === 'unmetered') return send(path, Promise.reject<NonNullable<Awaited<PostOptions>>>(unmetered(path)));
  let call: MeteredCall | null = null;
  const asked = Promise.resolve(options).then(async (given) => {
    const body = (given?.body ?? {}) as Body;
    // Runs on for minutes after an answer without figures: nobody would learn what it cost.
    if (body['background'] === true) throw unmetered(`${path} in the background`);
    call = new MeteredCall(settings, route, body);
    const sent = await call.open();
    // The SDK looks at the signal next and sends nothing.
    if (given?.signal?.aborted === true) call.giveBack();
    return { ...given, body: sent };
  });
  const answer = send(path, asked);
  // Seen here as well as by the caller, who may look at the answer in several ways or not at all.
  answer.asResponse().catch((error: unknown) => call?.fail(error));
  return answer._thenUnwrap((data: unknown) => (call === null ? data : observe(call, data)));
}

function unmetered(what: string): TollgateUnmeteredError {
  return new TollgateUnmeteredError(`POST ${what} costs money and is not measured here: make it with the plain client and report it with tollgate.events()`);
}

function observe(call: MeteredCall, data: unknown): unknown {
  if (isStream(data)) return meteredStream(call, data);
  const tally = new Tally();
  tally.addAnswer(data);
  call.noteOutput();
  call.succeed(tally);
  return data;
}

function isStream(data: unknown): data is StreamOf<unknown> {
  return typeof data === 'object' && data !== null && Symbol.asyncIterator in data && 'controller' in data;
}
