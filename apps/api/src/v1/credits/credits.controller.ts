import { Body, Controller, HttpCode, Param, Post, UseInterceptors } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { DomainError, fromWireId, type Json } from '#libs/kernel/index.js';
import { FindCredit, GrantCredit, VoidCredit } from '#libs/ledger/index.js';
import { TenantDirectory, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { answerOf, idempotencyOf } from '../../http/first-answer.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { externalId } from '../../http/schemas.js';
import { TellQuota } from '../../http/tell-quota.js';
import { maySeeTenant, tenantNotFound } from '../../http/tenant-access.js';
import { grantCreditBody, grantedCreditWire, voidCreditBody, voidedCreditWire } from './credits.schemas.js';
import { toGrantedWire, toVoidedWire } from './credits.wire.js';

@ApiTags('money')
@Controller('v1')
@UseInterceptors(TellQuota)
export class CreditsController {
  constructor(
    private readonly tenants: TenantDirectory,
    private readonly grantCredit: GrantCredit,
    private readonly voidCredit: VoidCredit,
    private readonly findCredit: FindCredit,
  ) {}

  /** Grants a lot of credit. A paid one first pays what a prepaid tenant owes. */
  @Post('tenants/:tenant_id/credits')
  @RequireScope('admin')
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiCreatedResponse({ standardSchema: grantedCreditWire })
  async grant(
    @Param('tenant_id', { schema: externalId() }) tenantId: string,
    @Body({ schema: grantCreditBody }) body: z.infer<typeof grantCreditBody>,
    @IdempotencyKey() key: string | null,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<z.infer<typeof grantedCreditWire>> {
    const tenant = await this.tenants.find(tenantId);
    if (!tenant) throw tenantNotFound();
    const once = await this.grantCredit.execute({
      tenantId,
      amountNano: body.amount_usd,
      kind: body.kind,
      expiresAt: body.expires_at ?? null,
      priority: body.priority ?? null,
      reference: body.reference ?? null,
      collectReceivable: tenant.billing === 'prepaid',
      by: { actor: caller.actor, requestId },
      idempotency: idempotencyOf(key, askedGrant(body), toGrantedWire),
    });
    return answerOf(once, toGrantedWire);
  }

  /** Takes back what is left of a credit and closes it; what was spent from it stays spent. */
  @Post('credits/:lot_id/void')
  @HttpCode(200)
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiOkResponse({ standardSchema: voidedCreditWire })
  async void(
    @Param('lot_id') wireId: string,
    @Body({ schema: voidCreditBody }) body: z.infer<typeof voidCreditBody>,
    @IdempotencyKey() key: string | null,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<z.infer<typeof voidedCreditWire>> {
    const lotId = fromWireId('lot', wireId);
    const lot = lotId === null ? null : await this.findCredit.execute({ lotId });
    if (!lot || !maySeeTenant(caller, lot.tenantId))
      throw new DomainError({ code: 'credit.not_found', kind: 'not_found', publicMessage: 'there is no such credit' });
    const reason = body?.reason ?? null;
    const once = await this.voidCredit.execute({
      lotId: lot.lotId,
      tenantId: lot.tenantId,
      reason,
      by: { actor: caller.actor, requestId },
      idempotency: idempotencyOf(key, { lot_id: lot.lotId, reason }, toVoidedWire),
    });
    return answerOf(once, toVoidedWire);
  }
}

function askedGrant(body: z.infer<typeof grantCreditBody>): Json {
  return {
    amount_nano: String(body.amount_usd),
    kind: body.kind,
    expires_at: body.expires_at?.toISOString() ?? null,
    priority: body.priority ?? null,
    reference: body.reference ?? null,
  };
}
