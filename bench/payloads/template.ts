/**
 * Bodies with distinct ids at the price of one string join: the text between the ids is made once, so that the load generator leaves
 * the two cores to the server.
 */
import { readFileSync } from 'node:fs';

/** Every id is this long, so the length of a body is known beforehand. */
export const ID_LENGTH = 24;

export interface BodyTemplate {
  readonly contentType: string;
  /** The body is `segments.join(id)`. ASCII only. */
  readonly segments: readonly string[];
  readonly events: number;
  readonly bytes: number;
}

const SLOT = '\u0000';

function toTemplate(text: string, events: number): BodyTemplate {
  const segments = text.split(SLOT);
  if (Buffer.byteLength(text) !== text.length) throw new Error('a bench body is ASCII');
  return { contentType: 'application/json', segments, events, bytes: text.length + (segments.length - 1) * (ID_LENGTH - 1) };
}

/** `events` spend events of `tenants` tenants as an application would report them to POST /v1/events. */
export function eventsTemplate(events: number, tenants: number, occurredAt: Date): BodyTemplate {
  const items = Array.from({ length: events }, (_, index) => ({
    event_id: `${SLOT}-${index}`,
    occurred_at: occurredAt.toISOString(),
    // 7919 is prime: neighbours in a body belong to different tenants, and every tenant has its turn.
    tenant_id: benchTenant((index * 7919) % tenants),
    user_id: `u_${index % 97}`,
    feature: index % 3 === 0 ? 'document_summarize' : 'chat',
    environment: 'prod',
    request_id: `req_${SLOT}`,
    provider: 'openai',
    model: index % 4 === 0 ? 'gpt-4o-mini' : 'gpt-4o',
    usage: { input_tokens: 176 + index, cache_read_tokens: 1024, output_tokens: 350 },
    latency_ms: 2113,
    status: 'success',
  }));
  return toTemplate(JSON.stringify(items).replaceAll('\\u0000', SLOT), events);
}

/** One authorize for each of `tenants` tenants, all of one length. */
export function authorizeTemplates(tenants: number, prefix = 'bench-', digits = 4): { template: BodyTemplate; variants: readonly (readonly string[])[] } {
  const all = Array.from({ length: tenants }, (_, index) =>
    toTemplate(
      JSON.stringify({
        call_id: SLOT,
        tenant_id: `${prefix}${String(index).padStart(digits, '0')}`,
        user_id: 'u_1',
        feature: 'document_summarize',
        environment: 'prod',
        provider: 'openai',
        model: 'gpt-4o',
        input_tokens: 1_200,
        max_output_tokens: 800,
      }).replaceAll('\\u0000', SLOT),
      1,
    ),
  );
  const [template] = all;
  if (!template) throw new Error('a bench has at least one tenant');
  return { template, variants: all.map(({ segments }) => segments) };
}

export function benchTenant(index: number): string {
  return `bench-${String(index).padStart(4, '0')}`;
}

/** One payload of LiteLLM's generic callback, 5.7 KB, as a proxy sends it. */
export function litellmTemplate(occurredAt: Date): BodyTemplate {
  const recorded = readFileSync('test/fixtures/litellm/success.json', 'utf8');
  const seconds = Math.floor(occurredAt.getTime() / 1_000);
  const text = recorded
    .replaceAll('CFx1aKq7RrM0u2pYpZ0n9h4t', SLOT)
    .replace('3f6d5f6e-8f0b-4a53-9a55-2f1b5a0e77c1', `${SLOT}-55-2f1b5a0e`)
    .replaceAll('1789372800', String(seconds))
    .replaceAll('1789372802', String(seconds + 2))
    .replace('"tenant_id": "acme"', `"tenant_id": "${benchTenant(0)}"`);
  return toTemplate(text, 1);
}
