import type { Sql } from '#libs/platform/postgres/database.js';
import { KeyCreditStore, type KeyCredit } from '../application/credit-key.js';

const COLUMNS = 'credit_id, tenant_id, api_key_id, amount_nano, reference, idem_key, request_hash, created_at';

interface Row {
  credit_id: string;
  api_key_id: string;
  amount_nano: bigint;
  reference: string | null;
  idem_key: string | null;
  request_hash: Buffer;
  created_at: Date;
}

export class PostgresKeyCreditStore extends KeyCreditStore {
  override async find(tx: Sql, tenantId: string, apiKeyId: string, idemKey: string): Promise<KeyCredit | null> {
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM quota.key_credit WHERE tenant_id = $1 AND api_key_id = $2 AND idem_key = $3`, [
      tenantId,
      apiKeyId,
      idemKey,
    ]);
    if (row === undefined) return null;
    return {
      creditId: row.credit_id,
      apiKeyId: row.api_key_id,
      amountNano: row.amount_nano,
      reference: row.reference,
      idemKey: row.idem_key,
      requestHash: row.request_hash,
      createdAt: row.created_at,
    };
  }

  override async insert(tx: Sql, tenantId: string, credit: KeyCredit): Promise<void> {
    await tx.execute(`INSERT INTO quota.key_credit (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, [
      credit.creditId,
      tenantId,
      credit.apiKeyId,
      credit.amountNano,
      credit.reference,
      credit.idemKey,
      credit.requestHash,
      credit.createdAt,
    ]);
  }
}
