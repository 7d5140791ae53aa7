import type { Database } from '#libs/platform/postgres/database.js';
import type { Delivery, DeliveryFilter, DeliveryStore } from './ports.js';

/** The delivery log, newest first; one more than `limit` where there are more. */
export class ListDeliveries {
  constructor(
    private readonly database: Database,
    private readonly deliveries: DeliveryStore,
  ) {}

  async execute(filter: DeliveryFilter): Promise<Delivery[]> {
    return await this.deliveries.list(this.database, { ...filter, limit: filter.limit + 1 });
  }
}
