/** The door of @tollgate/client. The wrapper of the `openai` package is a door of its own, `@tollgate/client/openai`. */
export {
  TollgateApiError,
  TollgateBlockedError,
  TollgateError,
  TollgateTenantError,
  TollgateUnmeteredError,
  TollgateUnreachableError,
  type FieldError,
} from './errors.js';
export type { Logger } from './log.js';
export type { TenantSource } from './tenant.js';
export { Tollgate, type Authorization, type FailurePolicy, type TollgateOptions } from './tollgate.js';
export type {
  AuthorizeRequest,
  Balance,
  Decision,
  ExtendRequest,
  Hold,
  ReasonCode,
  RecordedEvents,
  SettledHold,
  SettleRequest,
  SpendEvent,
  Usage,
} from './wire.js';
