import { Body, Controller, Param, Post, UseInterceptors } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { AdjustBalance } from '#libs/ledger/index.js';
import { TenantDirectory, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { answerOf, idempotencyOf } from '../../http/first-answer.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { externalId } from '../../http/schemas.js';
import { TellQuota } from '../../http/tell-quota.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { adjustBalanceBody, adjustmentWire } from './adjustments.schemas.js';
import { toAdjustmentWire } from './adjustments.wire.js';

@ApiTags('money')
@Controller('v1/tenants/:tenant_id/adjustments')
@UseInterceptors(TellQuota)
export class AdjustmentsController {
  constructor(
    private readonly tenants: TenantDirectory,
    private readonly adjustBalance: AdjustBalance,
  ) {}

  /** Corrects a balance by hand: a debit burns credits like usage, a credit pays a debt first and then becomes a promo credit. */
  @Post()
  @RequireScope('admin')
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiCreatedResponse({ standardSchema: adjustmentWire })
  async adjust(
    @Param('tenant_id', { schema: externalId() }) tenantId: string,
    @Body({ schema: adjustBalanceBody }) body: z.infer<typeof adjustBalanceBody>,
    @IdempotencyKey() key: string | null,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<z.infer<typeof adjustmentWire>> {
    if (!(await this.tenants.find(tenantId))) throw tenantNotFound();
    const once = await this.adjustBalance.execute({
      tenantId,
      amountNano: body.amount_usd,
      reason: body.reason,
      by: { actor: caller.actor, requestId },
      idempotency: idempotencyOf(key, { amount_nano: String(body.amount_usd), reason: body.reason }, toAdjustmentWire),
    });
    return answerOf(once, toAdjustmentWire);
  }
}
