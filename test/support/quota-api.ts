/** A real API with tenants of its own per test, and short names for what the tests of holds say again and again. */
import type { ApiAnswer, TestApi } from './api.js';
import { settleEverything } from './posting.js';

export const PRICED = { provider: 'openai', model: 'gpt-4o' };

export interface TenantShape {
  /** What ids end in, by their number. */
  readonly ending: (id: number) => string;
  /** Where a test does not say otherwise. */
  readonly settings: object;
}

export const PLAIN_TENANTS: TenantShape = { ending: () => '', settings: {} };

export class QuotaTestApi {
  private counter = 0;

  constructor(
    readonly api: TestApi,
    private readonly tenants: TenantShape = PLAIN_TENANTS,
  ) {}

  /** A tenant of this test alone with that much paid credit. */
  async makeTenant(settings: object = {}, creditUsd = '1.00'): Promise<string> {
    this.counter += 1;
    const tenantId = `tenant-${this.counter}${this.tenants.ending(this.counter)}`;
    const { status } = await this.api.call('PUT', `/v1/tenants/${tenantId}`, { body: { ...this.tenants.settings, ...settings } });
    if (status >= 300) throw new Error(`no tenant was made: ${status}`);
    if (creditUsd !== '0') await this.credit(tenantId, creditUsd);
    return tenantId;
  }

  async credit(tenantId: string, amountUsd: string): Promise<void> {
    this.counter += 1;
    const headers = { 'idempotency-key': `credit-${this.counter}` };
    await this.api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: amountUsd, kind: 'paid' }, headers });
    await settleEverything(this.api.app);
  }

  async ask(body: object, options: { key?: string; headers?: Record<string, string> } = {}): Promise<ApiAnswer> {
    return await this.api.call('POST', '/v1/authorize', { body, ...options });
  }

  /** Asks for a call of that cost. */
  async askFor(tenantId: string, costUsd: string, more: object = {}): Promise<ApiAnswer> {
    return await this.ask({ tenant_id: tenantId, ...PRICED, estimated_cost_usd: costUsd, ...more });
  }

  async holdOf(holdId: string): Promise<any> {
    const { body } = await this.api.call('GET', '/v1/holds?limit=500');
    return body.data.find((hold: { hold_id: string }) => hold.hold_id === holdId);
  }

  async balanceOf(tenantId: string): Promise<any> {
    return (await this.api.call('GET', `/v1/tenants/${tenantId}/balance`)).body;
  }

  /** Reports one event and books it; answers its outcome. */
  async report(event: object): Promise<any> {
    const { body } = await this.api.call('POST', '/v1/events?results=all', { body: { ...PRICED, ...event } });
    await settleEverything(this.api.app);
    return body.results[0];
  }

  /** The process forgets everything and takes a new epoch, as after a restart. */
  async rebuild(): Promise<void> {
    await this.api.loseState();
  }
}
