import { DomainError } from '#libs/kernel/index.js';
import { Database } from '#libs/platform/postgres/database.js';
import { openTestDatabase } from '../support/database.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

describe('a database that takes bytes and says nothing', () => {
  it('is unavailable after the statement timeout, inside a transaction too, and is used again once it answers', async () => {
    const test = await openTestDatabase();
    const target = new URL(test.url);
    const proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    target.port = String(proxy.port);
    const database = new Database({
      connectionString: target.href,
      maxConnections: 1,
      role: null,
      applicationName: 'behind-proxy',
      statementTimeoutMs: 200,
      connectTimeoutMs: 500,
    });
    const silent = database.transaction(async (tx) => {
      await tx.query('SELECT 1');
      proxy.setMode('swallow');
      await tx.query('SELECT 2');
    });
    await expect(silent).rejects.toThrow(DomainError);
    await expect(silent).rejects.toMatchObject({ code: 'storage.unavailable', kind: 'unavailable' });
    proxy.setMode('forward');
    expect(await database.query('SELECT 3 AS answer')).toEqual([{ answer: 3 }]);
    await database.close();
    await proxy.close();
    await test.close();
  }, 20_000);
});
