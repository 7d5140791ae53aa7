/**
 * One logical call of a model: asked for once, ended once. Guarantees: nothing is sent upstream before an allow; whatever the end is
 * (an answer, half a stream, an abort, a failure) it is reported or its hold is given back, exactly one of them; the retries of the SDK
 * below share its call id.
 */
import { TollgateBlockedError } from './errors.js';
import { inputTokensOf } from './input-size.js';
import { askingForUsage, changed, maxOutputTokensOf, type Body, type Kind } from './openai-request.js';
import type { Tally } from './openai-usage.js';
import { tenantOf, UNKNOWN_TENANT, type TenantSource } from './tenant.js';
import type { Asked, Tollgate } from './tollgate.js';
import { uniqueId } from './unique-id.js';
import type { SpendEvent, Usage } from './wire.js';

export interface Attribution {
  readonly userId?: string;
  readonly feature?: string;
  /** `prod` by default. */
  readonly environment?: string;
  readonly assistantId?: string;
  readonly threadId?: string;
  readonly requestId?: string;
  readonly apiKeyId?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface MeteringSettings extends Attribution {
  readonly tollgate: Tollgate;
  readonly tenantId: TenantSource;
  /** Whose models the client calls; `openai` by default. */
  readonly provider?: string;
  readonly priority?: 'normal' | 'critical';
  /** Tokens of the input, where known better than from its bytes; a stored prompt or conversation is not in them. */
  readonly inputTokens?: number | ((body: Body) => number);
}

interface Opened {
  readonly asked: Asked;
  readonly sent: Body;
  readonly inputTokens: number;
  readonly tenantId: string;
}

const MAX_ERROR_TEXT = 200;

export class MeteredCall {
  readonly callId = uniqueId();
  /** The piece with the figures was added by us: the caller does not see it. */
  hidesUsage = false;
  private opened: Opened | null = null;
  private ended = false;
  private readonly begunMs = performance.now();
  private firstOutputMs: number | null = null;

  constructor(
    private readonly settings: MeteringSettings,
    private readonly kind: Kind,
    private readonly body: Body,
  ) {}

  /** Asks, and returns the body to send. @throws TollgateBlockedError, TollgateTenantError, TollgateApiError: nothing may be sent then */
  async open(): Promise<Body> {
    const { settings, kind, body } = this;
    const tenantId = tenantOf(settings.tenantId, settings.tollgate.log);
    const counted = typeof settings.inputTokens === 'function' ? settings.inputTokens(body) : settings.inputTokens;
    const inputTokens = counted ?? inputTokensOf(body);
    const asked = await settings.tollgate.ask({
      ...attributionWire(settings),
      call_id: this.callId,
      tenant_id: tenantId,
      provider: this.provider,
      model: textOr(body['model'], null),
      input_tokens: inputTokens,
      max_output_tokens: maxOutputTokensOf(kind, body),
      ...(settings.priority === undefined ? {} : { priority: settings.priority }),
    });
    const { authorization } = asked;
    const { reason } = authorization;
    const route = authorization.route;
    const elsewhere = authorization.decision === 'downgrade' && route !== null && route.provider !== null && route.provider !== this.provider;
    if (authorization.decision === 'block' || elsewhere) {
      // A ladder that leads to another provider is nothing this client can follow: refused, not ignored.
      if (authorization.hold !== null) settings.tollgate.releaseLater(authorization.hold.hold_id);
      throw new TollgateBlockedError({ code: reason.code, message: reason.message, retryAfterMs: reason.retry_after_ms, tenantId });
    }
    const model = authorization.decision === 'downgrade' ? (route?.model ?? authorization.model) : null;
    const asking = askingForUsage(kind, changed(kind, body, { model, maxOutputTokens: authorization.max_output_tokens }));
    this.hidesUsage = asking.added;
    this.opened = { asked, sent: asking.body, inputTokens, tenantId };
    return asking.body;
  }

  /** The first output was seen. */
  noteOutput(): void {
    this.firstOutputMs ??= performance.now();
  }

  /** The answer is whole, or the provider's stream came to an end, which is its own only if it said so. */
  succeed(tally: Tally): void {
    this.end(tally, tally.usage !== null || tally.complete ? 'success' : 'cancelled', null);
  }

  /** The caller left, or the stream broke: what was seen is what can be said. Figures the provider had already sent are better than a count. */
  breakOff(tally: Tally, error: unknown): void {
    this.end(tally, tally.usage !== null && tally.complete ? 'success' : 'cancelled', error);
  }

  /** There was no answer. The hold is given back where the provider cannot have worked; otherwise the input is what it may bill. */
  fail(error: unknown): void {
    if (this.opened === null || this.ended) return;
    if (mayHaveRun(error)) this.end(null, 'cancelled', error);
    else this.giveBack();
  }

  /** Nothing was sent. */
  giveBack(): void {
    if (this.opened === null || this.ended) return;
    this.ended = true;
    const { asked } = this.opened;
    this.settings.tollgate.releaseLater(asked.authorization.hold?.hold_id ?? asked.lateHold);
  }

  private get provider(): string {
    return this.settings.provider ?? 'openai';
  }

  private end(tally: Tally | null, status: 'success' | 'cancelled', error: unknown): void {
    if (this.opened === null || this.ended) return;
    this.ended = true;
    const { asked, sent, inputTokens, tenantId } = this.opened;
    const counted: Usage = { input_tokens: inputTokens, output_tokens: tally?.outputTokens ?? 0 };
    const event: SpendEvent = {
      ...attributionWire(this.settings),
      event_id: this.callId,
      call_id: this.callId,
      ...(tenantId === UNKNOWN_TENANT ? {} : { tenant_id: tenantId }),
      ...(asked.authorization.hold === null ? {} : { hold_id: asked.authorization.hold.hold_id }),
      provider: this.provider,
      model: textOr(sent['model'], null),
      requested_model: textOr(this.body['model'], null),
      usage: tally?.usage ?? counted,
      usage_quality: status === 'success' && tally?.usage ? 'exact' : 'partial',
      latency_ms: Math.round(performance.now() - this.begunMs),
      ...(this.firstOutputMs === null ? {} : { ttft_ms: Math.round(this.firstOutputMs - this.begunMs) }),
      stream: sent['stream'] === true,
      status,
      ...(error === null ? {} : { error: kindOf(error) }),
    };
    this.settings.tollgate.report(event, asked.lateHold);
  }
}

function attributionWire(settings: Attribution): Partial<SpendEvent> {
  const wire = {
    user_id: settings.userId,
    feature: settings.feature,
    environment: settings.environment,
    assistant_id: settings.assistantId,
    thread_id: settings.threadId,
    request_id: settings.requestId,
    api_key_id: settings.apiKeyId,
    tags: settings.tags,
  };
  return Object.fromEntries(Object.entries(wire).filter(([, value]) => value !== undefined)) as Partial<SpendEvent>;
}

/** The kind of a failure and never its text, which may quote the prompt. */
function kindOf(error: unknown): string {
  const { name, status, code } = error as { name?: unknown; status?: unknown; code?: unknown };
  // The SDK's own classes leave `name` as it is in Error.
  const kind = name === 'Error' ? (error as Error).constructor.name : name;
  const parts = [kind, status, code].filter((part) => typeof part === 'string' || typeof part === 'number');
  return (parts.length === 0 ? 'error' : parts.join(' ')).slice(0, MAX_ERROR_TEXT);
}

/** Statuses of a wait that was given up: the provider may have worked, and may bill. */
const GIVEN_UP_ON: ReadonlySet<number> = new Set([408, 499, 502, 504]);
/** Connections that were never made. */
const NEVER_SENT: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

function mayHaveRun(error: unknown): boolean {
  const { status } = error as { status?: unknown };
  if (typeof status === 'number') return GIVEN_UP_ON.has(status);
  for (let cause: unknown = error, depth = 0; typeof cause === 'object' && cause !== null && depth < 8; depth += 1) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string' && NEVER_SENT.has(code)) return false;
    cause = (cause as { cause?: unknown }).cause;
  }
  return true;
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' ? value : otherwise;
}
