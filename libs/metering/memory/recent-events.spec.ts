import { anAdmitted } from '../testing/reports.js';
import { RecentEvents } from './recent-events.js';

const committed = (eventId: string, receivedAt = '2026-11-22T12:00:00Z') => ({
  admitted: anAdmitted(eventId, {}, { receivedAt: new Date(receivedAt) }),
  correctsEventId: null,
});

describe('RecentEvents', () => {
  it('keeps nothing before somebody posts in this process', () => {
    const recent = new RecentEvents();
    recent.keep([committed('a')]);
    expect(recent.isEmpty).toBe(true);
  });

  it('gives each event once', () => {
    const recent = new RecentEvents();
    recent.want();
    recent.keep([committed('a')]);
    expect(recent.take('a')).toMatchObject({ eventId: 'a', tenantId: 'acme', correctsEventId: null });
    expect(recent.take('a')).toBeUndefined();
  });

  it('holds no more than its bound, leaves the newest out, and forgets what another process must have posted', () => {
    const recent = new RecentEvents(2);
    recent.want();
    recent.keep(['a', 'b', 'c'].map((id) => committed(id)));
    expect(recent.take('c')).toBeUndefined();
    recent.keep([committed('d', '2026-11-22T12:00:59Z')]);
    expect(recent.take('d')).toBeUndefined();
    recent.keep([committed('e', '2026-11-22T12:01:00Z')]);
    expect(recent.take('e')).toMatchObject({ eventId: 'e' });
    expect(recent.take('a')).toBeUndefined();
  });
});
