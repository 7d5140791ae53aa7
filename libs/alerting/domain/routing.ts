/**
 * Which channels an alert goes to: those its tenant's owner named, else every one. A channel's own filter always counts, so that a channel
 * made for one tenant never hears of another, whoever names it. Owner's channels that are gone or switched off count as not named: an
 * alert that goes nowhere because of a stale setting is the one that is missed.
 */
import { isAtLeast, type Alert } from './alert.js';
import type { Channel } from './channel.js';

type Filter = Pick<Channel, 'channelId' | 'kinds' | 'tenantId' | 'minSeverity' | 'enabled'>;

/** Ids of the channels, each once. */
export function channelsFor(alert: Pick<Alert, 'kind' | 'severity' | 'tenantId'>, channels: readonly Filter[], ownerChannelIds: readonly string[]): string[] {
  const enabled = channels.filter((channel) => channel.enabled);
  const named = enabled.filter((channel) => ownerChannelIds.includes(channel.channelId));
  return (named.length > 0 ? named : enabled).filter((channel) => fits(alert, channel)).map((channel) => channel.channelId);
}

function fits(alert: Pick<Alert, 'kind' | 'severity' | 'tenantId'>, channel: Filter): boolean {
  return (
    (channel.kinds === null || channel.kinds.includes(alert.kind)) &&
    (channel.tenantId === null || channel.tenantId === alert.tenantId) &&
    isAtLeast(alert.severity, channel.minSeverity)
  );
}
