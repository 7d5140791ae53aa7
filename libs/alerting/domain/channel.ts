/** A channel is where alerts go: an endpoint of the operator's, which alerts it takes, and the secrets its messages are signed with. */
import { HOUR_MS } from '#libs/kernel/index.js';
import type { AlertKind, Severity } from './alert.js';

export interface ChannelSettings {
  readonly kind: 'webhook';
  readonly url: string;
  /** Null: every kind. */
  readonly kinds: readonly AlertKind[] | null;
  /** Only alerts of this tenant; null: of all, and those of none. */
  readonly tenantId: string | null;
  readonly minSeverity: Severity;
  readonly enabled: boolean;
}

export interface Channel extends ChannelSettings {
  readonly channelId: string;
  /** `gone`: the endpoint answered 410. Null while enabled, and where a person switched it off. */
  readonly disabledReason: string | null;
  readonly secret: string;
  /** Signs beside the new one after a rotation, until `until`. */
  readonly previous: { readonly secret: string; readonly until: Date } | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A day for the receiver to take on the new secret. */
export const ROTATION_OVERLAP_MS = 24 * HOUR_MS;

/** Newest first; messages carry a signature of each. */
export function secretsAt(channel: Pick<Channel, 'secret' | 'previous'>, at: Date): readonly string[] {
  const { previous } = channel;
  return previous !== null && previous.until.getTime() > at.getTime() ? [channel.secret, previous.secret] : [channel.secret];
}

/** The channel with a new secret beside the old one; null while two are valid already, because a receiver may still know only the oldest. */
export function rotateSecret(channel: Channel, secret: string, at: Date): Channel | null {
  if (secretsAt(channel, at).length > 1) return null;
  return { ...channel, secret, previous: { secret: channel.secret, until: new Date(at.getTime() + ROTATION_OVERLAP_MS) }, updatedAt: at };
}

export function sameSettings(left: ChannelSettings, right: ChannelSettings): boolean {
  return (
    left.kind === right.kind &&
    left.url === right.url &&
    JSON.stringify(left.kinds) === JSON.stringify(right.kinds) &&
    left.tenantId === right.tenantId &&
    left.minSeverity === right.minSeverity &&
    left.enabled === right.enabled
  );
}
