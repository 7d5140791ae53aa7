import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import { DeleteChannel, PutChannel, ReadChannels, RotateChannelSecret, TestChannel } from '#libs/alerting/index.js';
import { DomainError, isExternalId } from '#libs/kernel/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, pageQuery, toPage, type Page } from '../../http/schemas.js';
import {
  alertChannelPage,
  alertChannelTestWire,
  alertChannelWire,
  channelId,
  newAlertChannelWire,
  putAlertChannelBody,
  rotateAlertChannelBody,
  type AlertChannelTestWire,
  type AlertChannelWire,
  type NewAlertChannelWire,
  type PutAlertChannelBody,
  type RotateAlertChannelBody,
} from './alert-channels.schemas.js';
import { toAlertChannelWire, toChannelSettings, toChannelTestWire, toNewAlertChannelWire } from './alert-channels.wire.js';

/** Where alerts go. Channels are the operator's: they make this server call an address, so keys bound to a tenant have no part in them. */
@ApiTags('alerts')
@Controller('v1/alert-channels')
export class AlertChannelsController {
  constructor(
    private readonly putChannel: PutChannel,
    private readonly readChannels: ReadChannels,
    private readonly deleteChannel: DeleteChannel,
    private readonly rotateSecret: RotateChannelSecret,
    private readonly testChannel: TestChannel,
  ) {}

  @Put(':channel_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertChannelWire, description: 'The channel after the change' })
  @ApiCreatedResponse({ standardSchema: newAlertChannelWire, description: 'The new channel, with its secret' })
  async put(
    @Param('channel_id', { schema: channelId }) id: string,
    @Body({ schema: putAlertChannelBody }) body: PutAlertChannelBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AlertChannelWire | NewAlertChannelWire> {
    const context = { actor: caller.actor, requestId };
    const { channel, created } = await this.putChannel.execute({
      channelId: id,
      settings: toChannelSettings(body),
      secret: body.secret ?? null,
      context,
    });
    if (!created) return toAlertChannelWire(channel);
    void reply.code(201);
    return toNewAlertChannelWire(channel);
  }

  @Get()
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertChannelPage })
  async list(@Query({ schema: pageQuery }) query: z.infer<typeof pageQuery>): Promise<Page<AlertChannelWire>> {
    const after = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id));
    const rows = await this.readChannels.execute({ after: after?.[0], limit: query.limit });
    return toPage(rows, query.limit, (channel) => [channel.channelId], toAlertChannelWire);
  }

  @Get(':channel_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertChannelWire })
  async get(@Param('channel_id', { schema: channelId }) id: string): Promise<AlertChannelWire> {
    const [channel] = await this.readChannels.execute({ channelId: id, limit: 1 });
    if (channel === undefined) throw channelNotFound();
    return toAlertChannelWire(channel);
  }

  /** What waits for the channel ends as failed; the log of its deliveries stays. */
  @Delete(':channel_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertChannelWire, description: 'The channel that was' })
  async remove(
    @Param('channel_id', { schema: channelId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<AlertChannelWire> {
    const channel = await this.deleteChannel.execute({ channelId: id, context: { actor: caller.actor, requestId } });
    if (channel === null) throw channelNotFound();
    return toAlertChannelWire(channel);
  }

  /** A new secret; messages are signed with the old one too for 24 hours. */
  @Post(':channel_id/rotate')
  @HttpCode(201)
  @RequireScope('admin')
  @ApiCreatedResponse({ standardSchema: newAlertChannelWire, description: 'The channel with its new secret' })
  async rotate(
    @Param('channel_id', { schema: channelId }) id: string,
    @Body({ schema: rotateAlertChannelBody }) body: RotateAlertChannelBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<NewAlertChannelWire> {
    const outcome = await this.rotateSecret.execute({ channelId: id, secret: body?.secret ?? null, context: { actor: caller.actor, requestId } });
    if (outcome.ok) return toNewAlertChannelWire(outcome.channel);
    if (outcome.reason === 'not_found') throw channelNotFound();
    throw new DomainError({
      code: 'alert_channel.two_secrets',
      kind: 'conflict',
      publicMessage: 'two secrets are valid until the last rotation is a day old; a PUT with "secret" replaces both at once',
    });
  }

  /** Sends a signed message of type `channel.test` now and answers how it went; takes up to ten seconds. */
  @Post(':channel_id/test')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertChannelTestWire })
  async test(@Param('channel_id', { schema: channelId }) id: string): Promise<AlertChannelTestWire> {
    const test = await this.testChannel.execute({ channelId: id });
    if (test === null) throw channelNotFound();
    return toChannelTestWire(test);
  }
}

function channelNotFound(): DomainError {
  return new DomainError({ code: 'alert_channel.not_found', kind: 'not_found', publicMessage: 'there is no such channel' });
}
