import type { Channel, ChannelSettings, ChannelTest } from '#libs/alerting/index.js';
import type { AlertChannelTestWire, AlertChannelWire, NewAlertChannelWire, PutAlertChannelBody } from './alert-channels.schemas.js';

export function toChannelSettings(body: PutAlertChannelBody): ChannelSettings {
  return {
    kind: body.kind,
    url: body.url,
    kinds: body.kinds === null ? null : [...new Set(body.kinds)],
    tenantId: body.tenant_id,
    minSeverity: body.min_severity,
    enabled: body.enabled,
  };
}

/** Never with a secret. */
export function toAlertChannelWire(channel: Channel): AlertChannelWire {
  return {
    channel_id: channel.channelId,
    kind: channel.kind,
    url: channel.url,
    kinds: channel.kinds === null ? null : [...channel.kinds],
    tenant_id: channel.tenantId,
    min_severity: channel.minSeverity,
    enabled: channel.enabled,
    disabled_reason: channel.disabledReason,
    previous_secret_until: channel.previous?.until.toISOString() ?? null,
    created_at: channel.createdAt.toISOString(),
    updated_at: channel.updatedAt.toISOString(),
  };
}

/** The one answer that shows the secret. */
export function toNewAlertChannelWire(channel: Channel): NewAlertChannelWire {
  return { ...toAlertChannelWire(channel), secret: channel.secret };
}

export function toChannelTestWire(test: ChannelTest): AlertChannelTestWire {
  return { delivered: test.delivered, http_status: test.status, error: test.error, response_excerpt: test.responseExcerpt };
}
