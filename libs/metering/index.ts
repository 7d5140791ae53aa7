export { DeadLetterStore, type DeadLetterRow } from './application/dead-letter-store.js';
export { EventReader, type EventView, type PostingView } from './application/event-reader.js';
export { ReplayDeadLetter } from './application/replay-dead-letter.js';
export { PostPendingSpend } from './application/post-pending-spend.js';
export {
  ConflictObserver,
  HeldAmounts,
  PostingParticipant,
  type EventConflict,
  type SetAsideEvent,
  type SpendMovement,
  type TenantBalances,
  type UnpricedCall,
} from './application/ports.js';
export { PostedSpendReader, type PostedSpend } from './application/read-posted-spend.js';
export { SpendHistory, type PastSpend, type SpendPages } from './application/read-spend-history.js';
export { PutSource } from './application/put-source.js';
export { MAX_EVENTS_PER_CALL, RecordEvents, type RecordedEvents, type RecordedItem } from './application/record-events.js';
export { RequeueQuarantined } from './application/requeue-quarantined.js';
export { SourceDirectory } from './application/source-directory.js';
export { ForgetOldEventKeys, KeepPartitionsAhead, MeasurePostingLag, SweepPending } from './application/sweep-pending.js';
export {
  AUTHORIZE_HEADER_FIELDS,
  BUILT_IN_SOURCES,
  defaultAuthorizeHeader,
  GATEWAYS,
  ON_NEW_TENANT,
  type AuthorizeHeaderField,
  type AuthorizeHeaders,
  type Gateway,
  type Source,
} from './domain/source.js';
export { ATTRIBUTION_FIELDS, QUALITY_RANK, type SpendReport, type UsageQuality } from './domain/spend-event.js';
export { spendEventSchema } from './gateways/api.js';
export { changedCall, readCallBody, type CallSize } from './gateways/call-body.js';
export type { GatewayQuestion } from './gateways/gateway-question.js';
export { readLiteLlmGuardrail } from './gateways/litellm-guardrail.js';
export { readPortkeyHook } from './gateways/portkey-hook.js';
export { splitLiteLlmBody } from './gateways/litellm.js';
export { MeteringModule } from './metering.module.js';
