import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { ReadBalance } from '#libs/ledger/index.js';
import { ReadHeld } from '#libs/quota/index.js';
import { TenantDirectory } from '#libs/tenancy/index.js';
import { RequireScope } from '../../http/access.js';
import { externalId } from '../../http/schemas.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { balanceWire } from './balance.schemas.js';
import { toBalanceWire } from './balance.wire.js';

@ApiTags('money')
@Controller('v1/tenants/:tenant_id/balance')
export class BalanceController {
  constructor(
    private readonly tenants: TenantDirectory,
    private readonly readBalance: ReadBalance,
    private readonly readHeld: ReadHeld,
  ) {}

  /** What a tenant has, owes and may still spend. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: balanceWire })
  async get(@Param('tenant_id', { schema: externalId() }) tenantId: string): Promise<z.infer<typeof balanceWire>> {
    const tenant = await this.tenants.find(tenantId);
    if (!tenant) throw tenantNotFound();
    // Holds first: a booking in between then counts as spent and held at once, never as neither.
    const held = await this.readHeld.execute(tenantId);
    return toBalanceWire(await this.readBalance.execute({ tenantId, creditLimitNano: tenant.creditLimitNano }), held);
  }
}
