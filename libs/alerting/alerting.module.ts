import { Inject, Module, type DynamicModule, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';
import { Clock } from '#libs/kernel/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { OutgoingHttp } from '#libs/platform/http/outgoing.js';
import { Logger } from '#libs/platform/logging/logger.js';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database } from '#libs/platform/postgres/database.js';
import { TenancyModule, TenantDirectory } from '#libs/tenancy/index.js';
import { DeleteChannel } from './application/delete-channel.js';
import { DeliverAlerts } from './application/deliver-alerts.js';
import { ForgetOldAlerts } from './application/forget-old-alerts.js';
import { ListAlerts } from './application/list-alerts.js';
import { ListDeliveries } from './application/list-deliveries.js';
import { AlertStore, ChannelStore, CreditHistory, DeliveryStore } from './application/ports.js';
import { NoteAlerts } from './application/note-alerts.js';
import { PutChannel } from './application/put-channel.js';
import { RaiseAlert } from './application/raise-alert.js';
import { RaiseNotedAlerts } from './application/raise-noted-alerts.js';
import { ReadChannels } from './application/read-channels.js';
import { RetryDelivery } from './application/retry-delivery.js';
import { RotateChannelSecret } from './application/rotate-channel-secret.js';
import { RouteAlerts } from './application/route-alerts.js';
import { SendWebhook } from './application/send-webhook.js';
import { TestChannel } from './application/test-channel.js';
import { WatchConflicts } from './application/watch-conflicts.js';
import { WatchSpend } from './application/watch-spend.js';
import { PostgresAlertStore } from './postgres/postgres-alert-store.js';
import { PostgresChannelStore } from './postgres/postgres-channel-store.js';
import { PostgresDeliveryStore } from './postgres/postgres-delivery-store.js';

const ON_ERROR = Symbol('tollgate.alerting-on-error');

const useCases = [
  useCase(RaiseAlert, [Database, AlertStore, Clock]),
  useCase(RouteAlerts, [Database, AlertStore, ChannelStore, DeliveryStore, TenantDirectory, Clock]),
  useCase(DeliverAlerts, [Database, DeliveryStore, ChannelStore, SendWebhook, AuditLog, Clock, ON_ERROR]),
  useCase(ForgetOldAlerts, [Database, AlertStore, Clock]),
  useCase(PutChannel, [Database, ChannelStore, OutgoingHttp, TenantDirectory, AuditLog, Clock]),
  useCase(DeleteChannel, [Database, ChannelStore, DeliveryStore, AuditLog, Clock]),
  useCase(RotateChannelSecret, [Database, ChannelStore, AuditLog, Clock]),
  useCase(TestChannel, [Database, ChannelStore, SendWebhook, Clock]),
  useCase(ReadChannels, [Database, ChannelStore]),
  useCase(ListAlerts, [Database, AlertStore, DeliveryStore]),
  useCase(ListDeliveries, [Database, DeliveryStore]),
  useCase(RetryDelivery, [Database, DeliveryStore, ChannelStore, AuditLog, Clock]),
  useCase(WatchSpend, [NoteAlerts, TenantDirectory, CreditHistory, Clock]),
  useCase(WatchConflicts, [NoteAlerts]),
];

/** What goes wrong with an alert is told here, because it must go wrong alone. */
const reporting = [
  {
    provide: NoteAlerts,
    inject: [Logger],
    useFactory: (logger: Logger) => new NoteAlerts((error) => logger.error({ error }, 'an alert could not be noted; what it is about was booked all the same')),
  },
  {
    provide: RaiseNotedAlerts,
    inject: [Database, RaiseAlert, Logger],
    useFactory: (database: Database, raiseAlert: RaiseAlert, logger: Logger) =>
      new RaiseNotedAlerts(database, raiseAlert, (error, failed) => logger.error({ error, failed }, 'alerts could not be raised; they are tried again')),
  },
];

export interface AlertingOptions {
  /** What provides {@link CreditHistory}. */
  readonly imports: NonNullable<ModuleMetadata['imports']>;
}

@Module({})
export class AlertingModule implements OnApplicationShutdown {
  constructor(@Inject(DeliverAlerts) private readonly deliverAlerts: DeliverAlerts) {}

  static register({ imports }: AlertingOptions): DynamicModule {
    return {
      module: AlertingModule,
      imports: [TenancyModule, ...imports],
      providers: [
        { provide: AlertStore, useClass: PostgresAlertStore },
        { provide: ChannelStore, useClass: PostgresChannelStore },
        { provide: DeliveryStore, useClass: PostgresDeliveryStore },
        {
          provide: ON_ERROR,
          inject: [Logger],
          useFactory: (logger: Logger) => (error: unknown) => logger.error({ error }, 'a delivery could not be taken or recorded; it is tried again'),
        },
        useCase(SendWebhook, [OutgoingHttp, Clock]),
        ...useCases,
        ...reporting,
      ],
      exports: [...useCases, ...reporting].map((provider) => provider.provide),
    };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.deliverAlerts.close();
  }
}
