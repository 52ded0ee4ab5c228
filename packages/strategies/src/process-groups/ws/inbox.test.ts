/** What arrives for a group, against frames that are well-formed and make no sense. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TensorloomError } from '@tensorloom/core/distributed';
import { ANNOUNCEMENT, FrameKind } from './frames.ts';
import { Inbox } from './inbox.ts';

const frame = fc
  .record({
    call: fc.integer({ min: 0, max: 80 }),
    step: fc.constantFrom(0, 1, 2, ANNOUNCEMENT),
    dataBytes: fc.integer({ min: 0, max: 20_000 }),
    offset: fc.constantFrom(0, 1, 4, 400),
    more: fc.constantFrom(0, 0, 0, 1, 400),
    text: fc.constantFrom('', 'all-reduce', 'barrier'),
  })
  .map(({ text, more, ...rest }) => ({
    text,
    header: {
      ...rest,
      kind: FrameKind.collective,
      isLast: false,
      textBytes: text.length,
      group: 1,
      sequence: 1,
      acknowledged: 0,
      total: rest.offset + rest.dataBytes + more,
    },
  }));

describe('an inbox', () => {
  it('takes what it waits for, or fails, whatever comes; and keeps no more than its bounds', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 60 }), (frames) => {
        let mismatches = 0;
        const inbox = new Inbox(0, [0, 1], () => mismatches++);
        inbox.begin(() => ({ text: 'all-reduce', total: 0 }));
        const target = new Float32Array(100);
        const slot = inbox.expect(1, 0, target, 'float32', null);
        for (const { header, text } of frames)
          try {
            inbox.onFrame(1, header, text, [new Uint8Array(header.dataBytes).fill(1)]);
          } catch (error) {
            expect(error).toBeInstanceOf(TensorloomError);
            expect(error).toMatchObject({ code: 'BAD_DATA' });
          }
        expect(slot.doneBytes).toBeLessThanOrEqual(400);
        const written = new Uint8Array(target.buffer).filter((byte) => byte === 1).length;
        expect(written).toBe(slot.doneBytes);
        expect(mismatches).toBe(
          frames.filter(
            ({ header, text }) =>
              header.call === 1 &&
              (text === 'barrier' || (text !== '' && header.step === ANNOUNCEMENT && header.total !== 0)),
          ).length,
        );
      }),
      { numRuns: 1000 },
    );
  });

  it('keeps a bounded number of early frames of each rank', () => {
    const inbox = new Inbox(0, [0, 1], () => {});
    const header = {
      kind: FrameKind.collective,
      isLast: false,
      textBytes: 0,
      group: 1,
      sequence: 1,
      acknowledged: 0,
      call: 1,
      step: 0,
      dataBytes: 1000,
      offset: 0,
      total: 1000,
    };
    const send = () => inbox.onFrame(1, header, '', [new Uint8Array(1000)]);
    for (let i = 0; i < 256; i++) send();
    expect(send).toThrow(/nobody waits for/);
  });
});
