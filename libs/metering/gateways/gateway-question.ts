/**
 * What a gateway says about the call it asks for, in our words. As with reports, `null` means "not said". Nothing here vouches for who
 * asks: identity comes from the places that the source's operator chose.
 */
import type { AttributionField } from '../domain/spend-event.js';
import type { CallSize } from './call-body.js';

export interface GatewayQuestion extends CallSize {
  readonly found: Readonly<Partial<Record<AttributionField, string>>>;
  /** Fields that were given in a form no id has. */
  readonly unusable: readonly AttributionField[];
  readonly callId: string | null;
  readonly provider: string | null;
}
