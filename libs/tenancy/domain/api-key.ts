/**
 * A key that a tenant gives to one of its apps. It opens no route: it tells whose call it is, what the call may use, and by its id which
 * limits count. What it says about the call beats what the caller says, for the caller could say anything.
 */
export interface ApiKeySettings {
  readonly name: string;
  readonly app: string | null;
  readonly assistantId: string | null;
  readonly workflow: string | null;
  readonly environment: string | null;
  /** Names of models, or beginnings of names followed by `*`; null: every model. */
  readonly models: readonly string[] | null;
  readonly allowCritical: boolean;
  /** It has a balance of its own, kept by quota; decided when the key is made, before anybody knows its text. */
  readonly prepaid: boolean;
  readonly expiresAt: Date | null;
}

export interface ApiKey extends ApiKeySettings {
  readonly apiKeyId: string;
  readonly publicId: string;
  readonly secretHash: Buffer;
  readonly tenantId: string;
  /** The key this one was rotated from. */
  readonly replaces: string | null;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
}
