import type { Type } from '@nestjs/common';
import { AdjustmentsController } from './adjustments/adjustments.controller.js';
import { AlertChannelsController } from './alert-channels/alert-channels.controller.js';
import { AlertDeliveriesController } from './alert-deliveries/alert-deliveries.controller.js';
import { AlertsController } from './alerts/alerts.controller.js';
import { AuditController } from './audit/audit.controller.js';
import { AuthorizeController } from './authorize/authorize.controller.js';
import { BalanceController } from './balance/balance.controller.js';
import { GlobalBudgetsController } from './budgets/global-budgets.controller.js';
import { TenantBudgetsController } from './budgets/budgets.controller.js';
import { SimulationController } from './budgets/simulation.controller.js';
import { CreditsController } from './credits/credits.controller.js';
import { DeadLettersController } from './dead-letters/dead-letters.controller.js';
import { DecisionsController } from './decisions/decisions.controller.js';
import { EventsController } from './events/events.controller.js';
import { HoldsController } from './holds/holds.controller.js';
import { LedgerController } from './ledger/ledger.controller.js';
import { LimitsController } from './limits/limits.controller.js';
import { ModelAliasesController } from './model-aliases/model-aliases.controller.js';
import { ModelsController } from './models/models.controller.js';
import { ForwardController } from './dialects/forward.controller.js';
import { LiteLlmGuardrailController } from './dialects/litellm.controller.js';
import { PortkeyController } from './dialects/portkey.controller.js';
import { DocsController } from './ops/docs.controller.js';
import { OpsController } from './ops/ops.controller.js';
import { PlansController } from './plans/plans.controller.js';
import { PriceOverridesController } from './price-overrides/price-overrides.controller.js';
import { PricesController } from './prices/prices.controller.js';
import { RateCardsController } from './rate-cards/rate-cards.controller.js';
import { ReportsController } from './reports/reports.controller.js';
import { RoutesController } from './routes/routes.controller.js';
import { ServiceKeysController } from './service-keys/service-keys.controller.js';
import { SourcesController } from './sources/sources.controller.js';
import { TenantKeysController } from './tenant-keys/tenant-keys.controller.js';
import { TenantsController } from './tenants/tenants.controller.js';
import { WebhooksController } from './webhooks/webhooks.controller.js';

/** Every controller the API serves; a new resource adds its line here. */
export const controllers: Type[] = [
  OpsController,
  DocsController,
  AuthorizeController,
  ForwardController,
  LiteLlmGuardrailController,
  PortkeyController,
  HoldsController,
  DecisionsController,
  EventsController,
  WebhooksController,
  SourcesController,
  DeadLettersController,
  TenantsController,
  TenantKeysController,
  PlansController,
  ServiceKeysController,
  TenantBudgetsController,
  SimulationController,
  GlobalBudgetsController,
  RoutesController,
  LimitsController,
  CreditsController,
  AdjustmentsController,
  BalanceController,
  LedgerController,
  ReportsController,
  PricesController,
  ModelsController,
  PriceOverridesController,
  RateCardsController,
  ModelAliasesController,
  AlertChannelsController,
  AlertsController,
  AlertDeliveriesController,
  AuditController,
];
