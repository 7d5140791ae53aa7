import type { AdmittedReport } from '../domain/stored-event.js';
import type { SpendReport } from '../domain/spend-event.js';

/** A successful call of gpt-4o, exact usage; override what a test is about. */
export function aReport(over: Partial<SpendReport> = {}): SpendReport {
  return {
    externalId: 'e1',
    occurredAt: null,
    tenantId: 'acme',
    callId: null,
    holdId: null,
    providerResponseId: null,
    userId: null,
    feature: null,
    environment: null,
    assistantId: null,
    threadId: null,
    apiKeyId: null,
    requestId: null,
    tags: null,
    provider: 'openai',
    model: 'gpt-4o',
    requestedModel: null,
    usage: { input_tokens: 100, output_tokens: 10 },
    quality: 'exact',
    claimedCostNano: null,
    latencyMs: null,
    ttftMs: null,
    stream: null,
    status: 'success',
    error: null,
    metadata: null,
    claimsCall: true,
    ...over,
  };
}

/** The same, admitted for its tenant. */
export function anAdmitted(eventId: string, over: Partial<SpendReport> = {}, admitted: Partial<AdmittedReport> = {}): AdmittedReport {
  const report = aReport(over);
  const at = new Date('2026-11-22T12:00:00Z');
  return {
    eventId,
    receivedAt: at,
    occurredAt: at,
    sourceId: 'api',
    boundTenantId: null,
    tenantId: report.tenantId ?? 'unknown',
    environment: 'prod',
    costTrusted: false,
    report,
    ...admitted,
  };
}
