import { newUuid } from '#libs/kernel/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { AuthenticateCaller } from '../../libs/tenancy/application/authenticate-caller.js';
import { CreateServiceKey } from '../../libs/tenancy/application/create-service-key.js';
import { RecordKeyUse } from '../../libs/tenancy/application/record-key-use.js';
import { RevokeServiceKey } from '../../libs/tenancy/application/revoke-service-key.js';
import { SettingsRevision } from '../../libs/tenancy/application/settings-revision.js';
import { TenantDirectory } from '../../libs/tenancy/application/tenant-directory.js';
import { hashKey, makeSecret } from '../../libs/tenancy/domain/service-key.js';
import { readRevision } from '../../libs/tenancy/postgres/revision.js';
import { PostgresServiceKeyRepository } from '../../libs/tenancy/postgres/service-key.repository.js';
import { PostgresTenantRepository } from '../../libs/tenancy/postgres/tenant.repository.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';

const CONTEXT = { actor: 'admin', requestId: null };

describe('tenancy on PostgreSQL', () => {
  let database: TestDatabase;
  const clock = new FixedClock();
  const audit = new AuditLog();
  let monotonic = 0;
  beforeAll(async () => {
    database = await openTestDatabase();
  });
  afterAll(async () => await database.close());

  // Each process has its own.
  const revision = (): SettingsRevision =>
    new SettingsRevision(
      async () => await readRevision(database.db),
      () => monotonic,
    );
  const directory = (newTenantsPerHour = 1_000): TenantDirectory =>
    new TenantDirectory(database.db, new PostgresTenantRepository(), audit, clock, { newTenantsPerHour }, revision());

  describe('tenants made from events', () => {
    it('are postpaid, in shadow, marked and audited', async () => {
      const tenants = directory();
      expect(await tenants.createFromEvents(['auto-a', 'auto-b', 'auto-a'])).toEqual(new Set(['auto-a', 'auto-b']));
      expect(await tenants.find('auto-a')).toMatchObject({ billing: 'postpaid', enforcement: 'shadow', autoCreated: true, creditLimitNano: 0n });
      const entries = await audit.list(database.db, { tenantId: 'auto-a', limit: 10 });
      expect(entries).toMatchObject([{ action: 'tenant.auto_created', actor: 'system:events', before: null }]);
    });

    it('are made once, however many processes see them first', async () => {
      const ids = Array.from({ length: 40 }, (_, index) => `race-${index}`);
      const answers = await Promise.all(
        Array.from({ length: 6 }, async (_, process) => await directory().createFromEvents(process % 2 === 0 ? ids : [...ids].reverse())),
      );
      for (const answer of answers) expect(answer).toEqual(new Set(ids));
      const rows = await database.db.query<{ entries: bigint }>(`SELECT count(*) AS entries FROM platform.audit WHERE entity_id LIKE 'race-%'`);
      expect(rows[0]?.entries).toBe(40n);
    });

    it('never exceed the hourly limit, counted over all processes, and are allowed again an hour later', async () => {
      clock.advance(3_600_001);
      const ids = (name: string): string[] => Array.from({ length: 8 }, (_, index) => `${name}-${index}`);
      const answers = await Promise.all(['limit-a', 'limit-b', 'limit-c'].map(async (name) => await directory(10).createFromEvents(ids(name))));
      expect(answers.reduce((sum, answer) => sum + answer.size, 0)).toBe(10);
      expect((await directory(10).createFromEvents(['limit-late'])).size).toBe(0);
      clock.advance(3_600_001);
      expect(await directory(10).createFromEvents(['limit-late'])).toEqual(new Set(['limit-late']));
    });

    it('are not made for what is no valid id', async () => {
      expect(await directory().createFromEvents(['', ' lead', 'a\u0000', 'x'.repeat(129), 'fine'])).toEqual(new Set(['fine']));
    });
  });

  it('finds many tenants at once, and sees within a second what another process changed, also where there was none', async () => {
    const tenants = directory();
    await directory().createFromEvents(['cached-1']);
    expect([...(await tenants.findMany(['cached-1', 'cached-2', 'unknown'])).keys()].sort()).toEqual(['cached-1', 'unknown']);
    await directory().createFromEvents(['cached-2']);
    expect(await tenants.find('cached-2')).toBeNull();
    monotonic += 1_001;
    expect(await tenants.find('cached-2')).toMatchObject({ tenantId: 'cached-2' });
  });

  describe('keys in several processes', () => {
    const keys = new PostgresServiceKeyRepository();
    const makeProcess = () => {
      const keyUse = new RecordKeyUse(database.db, keys);
      const authenticate = new AuthenticateCaller(database.db, keys, keyUse, clock, 'the-provisioned-admin-key', revision());
      return {
        keyUse,
        authenticate,
        create: new CreateServiceKey(database.db, keys, authenticate, audit, clock, { keyEnvironment: 'test' }),
        revoke: new RevokeServiceKey(database.db, keys, authenticate, audit, clock),
      };
    };
    const newKey = { name: 'k', scopes: ['read', 'read'] as const, tenantId: null, sourceId: null, expiresAt: null };

    it('are refused everywhere within a second of their revocation', async () => {
      const [here, there] = [makeProcess(), makeProcess()];
      const { key, rawKey } = await here.create.execute({ key: newKey, context: CONTEXT });
      expect(key.scopes).toEqual(['read']);
      expect(await there.authenticate.execute(rawKey)).toMatchObject({
        keyId: `key_${key.keyId}`,
        actor: `key:key_${key.keyId}`,
        tenantId: null,
        sourceId: null,
      });
      await here.revoke.execute({ keyId: key.keyId, onlyTenantId: null, context: CONTEXT });
      expect(await here.authenticate.execute(rawKey)).toBeNull();
      monotonic += 1_001;
      expect(await there.authenticate.execute(rawKey)).toBeNull();
    });

    it('are known by their whole text: the right public id with another secret is nobody', async () => {
      const { authenticate, create } = makeProcess();
      const { key } = await create.execute({ key: newKey, context: CONTEXT });
      const forged = makeSecret('test');
      await database.db.transaction(
        async (tx) => void (await keys.insert(tx, { ...key, keyId: newUuid(clock.now()), publicId: forged.publicId, secretHash: hashKey('another key') })),
      );
      expect(await authenticate.execute(forged.rawKey)).toBeNull();
    });

    it('know the provisioned admin key by its whole text only', async () => {
      const { authenticate } = makeProcess();
      expect(await authenticate.execute('the-provisioned-admin-key')).toMatchObject({ keyId: 'admin', actor: 'admin' });
      for (const text of ['the-provisioned-admin-ke', 'the-provisioned-admin-key ', '']) expect(await authenticate.execute(text)).toBeNull();
    });

    it('note their last use in one write, never moving it back', async () => {
      const { create, authenticate, keyUse } = makeProcess();
      const { key, rawKey } = await create.execute({ key: newKey, context: CONTEXT });
      const lastUse = async () =>
        (await database.db.query<{ last_used_at: Date | null }>('SELECT last_used_at FROM tenancy.service_key WHERE key_id = $1', [key.keyId]))[0]
          ?.last_used_at;
      await authenticate.execute(rawKey);
      expect(await lastUse()).toBeNull();
      await keyUse.execute();
      const first = clock.now();
      expect(await lastUse()).toEqual(first);
      keyUse.note(key, new Date(first.getTime() - 60_000));
      await keyUse.execute();
      expect(await lastUse()).toEqual(first);
    });
  });

  it('keeps the audit trail from being changed, also by the owner of the table', async () => {
    await expect(database.db.execute(`UPDATE platform.audit SET actor = 'nobody'`)).rejects.toThrow(/permission denied|never changed/);
    await expect(database.db.execute('DELETE FROM platform.audit')).rejects.toThrow(/permission denied|never changed/);
  });
});
