import type { Rating } from '#libs/pricing/index.js';
import { decideBooking } from './booking.js';
import type { StoredEvent } from './stored-event.js';

const base: StoredEvent = {
  eventId: 'e',
  receivedAt: new Date(0),
  occurredAt: new Date(0),
  sourceId: 'api',
  externalId: 'x',
  tenantId: 'acme',
  status: 'success',
  quality: 7,
  usage: { input_tokens: 1 },
  claimedCostNano: null,
  costTrusted: false,
  provider: 'openai',
  model: 'gpt-4o',
  requestedModel: null,
  callId: null,
  holdId: null,
  endsCall: true,
  correctsEventId: null,
  userId: null,
  feature: null,
  environment: 'prod',
  assistantId: null,
  threadId: null,
  apiKeyId: null,
  requestId: null,
  latencyMs: null,
  ttftMs: null,
  stream: null,
  error: null,
  tags: null,
  metadata: null,
};
const rated = (costNano: bigint): Rating => ({ ok: true, lines: [], costNano, chargeNano: costNano, priceVersion: 'v', provider: 'openai', model: 'gpt-4o' });
const decide = (event: Partial<StoredEvent>, rating: Rating = rated(5n)) => decideBooking({ ...base, ...event }, () => rating, 1_000n);

describe('never free by accident', () => {
  test.each<[string, Partial<StoredEvent>, Rating, object]>([
    ['a priced event is posted', {}, rated(5n), { kind: 'post', costNano: 5n }],
    ['no usage is not zero usage', { usage: null }, rated(0n), { kind: 'quarantine', reason: 'usage_unknown' }],
    [
      'a claimed cost of an untrusted source does not replace usage',
      { usage: null, claimedCostNano: 7n },
      rated(7n),
      { kind: 'quarantine', reason: 'usage_unknown' },
    ],
    ['a claimed cost of a trusted source does', { usage: null, claimedCostNano: 7n, costTrusted: true }, rated(7n), { kind: 'post', costNano: 7n }],
    ['no price is quarantine', {}, { ok: false, reason: 'model_unpriced' }, { kind: 'quarantine', reason: 'model_unpriced' }],
    ['an absurd cost is quarantine', {}, rated(1_001n), { kind: 'quarantine', reason: 'absurd_cost' }],
    ['a cost at the bound is posted', {}, rated(1_000n), { kind: 'post' }],
    [
      'known zeros cost nothing, even without a price',
      { usage: { input_tokens: 0 }, model: 'nobody' },
      { ok: false, reason: 'model_unpriced' },
      { kind: 'post', costNano: 0n },
    ],
    ['a blocked call costs nothing', { status: 'blocked', usage: null }, { ok: false, reason: 'model_unpriced' }, { kind: 'post', costNano: 0n }],
  ])('%s', (_rule, event, rating, expected) => {
    expect(decide(event, rating)).toMatchObject(expected);
  });
});
