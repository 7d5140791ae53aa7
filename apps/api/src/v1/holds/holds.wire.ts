import type { z } from 'zod';
import { DomainError, formatUsd, toWireId } from '#libs/kernel/index.js';
import type { RecordedItem } from '#libs/metering/index.js';
import type { Hold } from '#libs/quota/index.js';
import type { holdWire, settledWire } from './holds.schemas.js';

export function toHoldWire(hold: Hold): z.infer<typeof holdWire> {
  const { facts } = hold;
  return {
    hold_id: toWireId('hold', hold.holdId),
    tenant_id: hold.tenantId,
    state: hold.state,
    resolution: hold.resolution,
    amount_usd: formatUsd(hold.amountNano),
    captured_usd: formatUsd(hold.capturedNano),
    unresolved_policy: hold.policy,
    created_at: new Date(hold.createdAtMs).toISOString(),
    expires_at: new Date(hold.expiresAtMs).toISOString(),
    resolved_at: hold.resolvedAtMs === null ? null : new Date(hold.resolvedAtMs).toISOString(),
    call_id: facts?.callId ?? null,
    provider: facts?.provider ?? null,
    model: facts?.model ?? null,
    requested_model: facts?.requestedModel ?? null,
    input_tokens: facts?.inputTokens ?? null,
    max_output_tokens: facts?.maxOutputTokens ?? null,
    user_id: facts?.userId ?? null,
    feature: facts?.feature ?? null,
    environment: facts?.environment ?? null,
    assistant_id: facts?.assistantId ?? null,
    thread_id: facts?.threadId ?? null,
    api_key_id: facts?.apiKeyId ?? null,
    request_id: facts?.requestId ?? null,
  };
}

/** @throws DomainError when the settle does not stand: conflict with what was recorded before, or refused */
export function toSettledWire({ hold, item }: { hold: Hold; item: RecordedItem }): z.infer<typeof settledWire> {
  const { outcome, detail, code } = item;
  if (outcome === 'conflict') {
    throw new DomainError({
      code: 'hold.settled_otherwise',
      kind: 'conflict',
      publicMessage: 'this call was reported with other figures before; the first stay',
    });
  }
  if (outcome === 'rejected') throw new DomainError({ code: code ?? 'event.rejected', kind: 'invalid', publicMessage: detail ?? 'the settle was refused' });
  return {
    hold: toHoldWire(hold),
    event: { id: item.eventId === null ? null : toWireId('evt', item.eventId), outcome, ...(detail === undefined ? {} : { detail }) },
  };
}
