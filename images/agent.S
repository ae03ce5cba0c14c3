# The guest agent: bare-metal code that fetches hypercalls from memory, executes them and stores what they left.
#
# PROTOCOL.md is its contract: addresses, mailbox, vectors, records. Assembled -mbig and -mlittle (LITTLE = 1).
# Sections named .big.* are executed big-endian in both images: a CPU starts, and with LPCR[ILE] = 0 takes
# interrupts, in that order. The Makefile reverses their words in the little-endian image after linking, so they
# hold nothing but instructions.
#
# A register that a batch needs is either in the mailbox, which SPRG0 names, or, in a lean batch, in r27..r31,
# which a hypercall preserves. The stop labels have a page of their own because QEMU translates every block of a
# page with a breakpoint one instruction at a time.

    .set MAGIC, 0x5249474147454e54              # "RIGAGENT"
    .set VERSION, 1

    # Offsets in the mailbox.
    .set M_MAGIC, 0x00
    .set M_VERSION, 0x08
    .set M_SEQUENCE, 0x10
    .set M_VECTORS, 0x18
    .set M_RECORDS, 0x20
    .set M_COUNT, 0x28
    .set M_KIND, 0x30
    .set M_MSR, 0x38
    .set M_DONE, 0x40
    .set M_INDEX, 0x48
    .set M_STATE, 0x50
    .set M_ENTRY, 0x58
    .set M_FAULT, 0xc0
    .set M_STARTED, 0xe8
    .set M_ROUTINE, 0xf0
    .set M_SEGMENT, 0xf8

    .set READY, 0
    .set BATCH_DONE, 1
    .set BAD_MAILBOX, 2
    .set EXCEPTION, 3

    # Offsets in a full vector or record.
    .set F_CR, 0x100
    .set F_LR, 0x108
    .set F_CTR, 0x110
    .set F_XER, 0x118
    .set F_MSR, 0x120
    .set F_SRR0, 0x128
    .set F_SRR1, 0x130
    .set F_SPRG0, 0x138
    .set F_SPRG1, 0x140
    .set F_SPRG3, 0x148
    .set F_FPSCR, 0x150
    .set F_VRSAVE, 0x158
    .set F_VSCR, 0x160
    .set F_VSR, 0x400

    .set LEAN_SIZE, 80
    .set FULL_SIZE_LOG2, 11

    .set SPR_VRSAVE, 256
    .set MSR_FP, 0x2000
    .set MSR_LE, 0x1
    .set MSR_VEC_VSX_HIGH, 0x0280               # VEC | VSX, shifted right by 16
    .set MSR_ELSEWHERE, 0xc030                  # EE | PR | IR | DR: what a routine may have set
    .set SEGMENT_0_HIGH, 0x0800                 # for slbmte: valid, ESID 0, entry 0; shifted right by 16

    .macro yield                                # ends a translated block and lets another CPU run
    or r31, r31, r31
    .endm

    # From big-endian code: store a doubleword in the agent's own order at \at, and step on.
    .macro put value, at
    .if LITTLE
    stdbrx \value, 0, \at
    .else
    std \value, 0(\at)
    .endif
    addi \at, \at, 8
    .endm

# ---- vectors ---------------------------------------------------------------------------------------------------

    .section .big.vectors, "ax"

    # A start, or a system reset interrupt (inject-nmi) once the agent has started. A reset loads the image anew.
    # Nothing is assumed of any register or of MSR[SF]; only r3 and those that the mailbox records are worth keeping.
    .org 0x100
    .globl rig_entry
rig_entry:
    mtsprg1 r8
    mtsprg2 r9
    lis r8, 0
    ori r8, r8, rig_mailbox@l
    ld r9, M_STARTED(r8)
    cmpdi r9, 0
    beq started
    mfsprg1 r8
    mfsprg2 r9
    mtsprg2 r3
    li r3, 0x100
    b exception

    # Some architected vectors are only 0x20 apart: every slot of that size gets a stub.
    .set vector, 0x200
    .rept (0x1000 - 0x200) / 0x20
    .org vector
    .if vector == 0xc00
    b routine_done
    .else
    mtsprg2 r3
    li r3, vector
    b exception
    .endif
    .set vector, vector + 0x20
    .endr

# ---- stop labels: page 0x2000 ------------------------------------------------------------------------------------

    .section .done, "ax"
    .globl rig_done
rig_done:
    nop
    b look

    .section .big.fault, "ax"
    .globl rig_fault
rig_fault:
    nop
    b fault_again

# ---- start and exceptions, big-endian ----------------------------------------------------------------------------

    .section .big.start, "ax"

    # A further CPU: r3 = its mailbox.
    .globl rig_secondary
rig_secondary:
    mr r8, r3
started:                                        # r8 = mailbox
    mtsprg0 r8
    addi r8, r8, M_ENTRY
    mfmsr r9
    put r3, r8
    put r9, r8
    put r1, r8
    put r4, r8
    put r5, r8
    put r6, r8
    put r7, r8
    # rfid rather than mtmsrd: it changes LE on every QEMU, where mtmsrd does so only on some.
    li r8, 1
    rldimi r9, r8, 63, 0                        # SF
    oris r9, r9, MSR_VEC_VSX_HIGH
    ori r9, r9, MSR_FP | (MSR_LE * LITTLE)
    mtsrr1 r9
    li r8, ready@l
    mtsrr0 r8
    rfid

exception:                                      # r3 = vector, SPRG2 = r3; every GPR is as it was at rig_fault
    mtsprg1 r4
    mfsprg0 r4
    addi r4, r4, M_FAULT
    put r3, r4
    mfsrr0 r3
    put r3, r4
    mfsrr1 r3
    put r3, r4
    mfdar r3
    put r3, r4
    mfdsisr r3
    put r3, r4
    sync                                        # the state tells a polling host that the rest is there
    mfsprg0 r4
    addi r4, r4, M_STATE
    li r3, EXCEPTION
    put r3, r4
    mfsprg1 r4
    mfsprg2 r3
    b rig_fault

routine_done:                                   # sc 0 ended a routine: SRR1 has the state in which it ran
    mtsprg2 r31
    mfsprg0 r31
    ld r31, M_ROUTINE(r31)
    tdeqi r31, 0                                # there was none; a compare would change CR
    mfsprg1 r31
    addi r31, r31, 30 * 8
    put r30, r31
    addi r31, r31, F_MSR - 31 * 8
    mfsrr1 r30
    put r30, r31
    mfsrr0 r30
    put r30, r31
    mfsrr1 r30
    put r30, r31
    lis r31, 0
    ori r31, r31, MSR_ELSEWHERE
    andc r30, r30, r31
    mtsrr1 r30
    li r31, store@l
    mtsrr0 r31
    mfsprg1 r31
    rfid

fault_again:                                    # what raised it cannot be trusted: only a reset ends this
    yield
    b rig_fault

# ---- batches -----------------------------------------------------------------------------------------------------

    .text

ready:
    mfsprg0 r31
    li r0, READY
    std r0, M_STATE(r31)
    sync
    li r0, 1
    std r0, M_STARTED(r31)
    b rig_done

idle:
    yield
look:
    mfsprg0 r31
    ld r5, M_SEQUENCE(r31)
    lwsync                                      # the host writes the sequence number last
    ld r3, M_MAGIC(r31)
    lis r4, MAGIC@highest
    ori r4, r4, MAGIC@higher
    sldi r4, r4, 32
    oris r4, r4, MAGIC@h
    ori r4, r4, MAGIC@l
    cmpld r3, r4
    bne bad_mailbox
    ld r3, M_VERSION(r31)
    cmpldi r3, VERSION
    bne bad_mailbox
    ld r4, M_DONE(r31)
    cmpld r5, r4
    beq idle
    li r28, 0
    std r28, M_INDEX(r31)
    ld r3, M_KIND(r31)
    cmpldi r3, 1
    beq full
    bgt bad_mailbox

lean:                                           # r27 count, r28 index, r29 record, r30 vector, r31 mailbox
    ld r27, M_COUNT(r31)
    ld r29, M_RECORDS(r31)
    ld r30, M_VECTORS(r31)
    cmpld r28, r27
    bge rig_lean_end
lean_call:
    std r28, M_INDEX(r31)
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    ld r\n, (\n - 3) * 8(r30)
    .endr
    sc 1
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    std r\n, (\n - 3) * 8(r29)
    .endr
    addi r28, r28, 1
    addi r29, r29, LEAN_SIZE
    addi r30, r30, LEAN_SIZE
    cmpld r28, r27
    blt lean_call

    .globl rig_lean_end
rig_lean_end:
    # The records are worth nothing if a call changed a register that it must preserve: the loop must have ended
    # where the mailbox says. Otherwise this is an exception, and the batch never counts as done.
    mfsprg0 r3
    tdne r31, r3
    ld r4, M_COUNT(r3)
    tdne r28, r4
    mulli r4, r4, LEAN_SIZE
    ld r5, M_RECORDS(r3)
    add r5, r5, r4
    tdne r29, r5
    ld r5, M_VECTORS(r3)
    add r5, r5, r4
    tdne r30, r5
    std r28, M_INDEX(r31)

batch_done:                                     # r31 = mailbox
    li r0, BATCH_DONE
    std r0, M_STATE(r31)
    ld r3, M_SEQUENCE(r31)
    lwsync                                      # a polling host that sees this sequence number sees the rest
    std r3, M_DONE(r31)
    b rig_done

bad_mailbox:
    li r0, BAD_MAILBOX
    std r0, M_STATE(r31)
    yield
    b rig_done

    .macro load_general                         # r31 = vector; it goes last
    ld r30, F_CR(r31)
    mtcr r30
    .set n, 0
    .rept 32
    ld n, n * 8(r31)
    .set n, n + 1
    .endr
    .endm

full:                                           # r28 = index, r31 = mailbox: all that one call leaves for the next
    ld r3, M_COUNT(r31)
    cmpld r28, r3
    bge batch_done
    sldi r3, r28, FULL_SIZE_LOG2
    ld r4, M_RECORDS(r31)
    add r4, r4, r3
    mtsprg1 r4
    ld r5, M_ROUTINE(r31)
    ld r6, M_MSR(r31)
    ld r7, M_SEGMENT(r31)
    ld r4, M_VECTORS(r31)
    add r31, r4, r3
    cmpdi r5, 0                                 # CR0 lasts until CR is loaded
    beq load
    mtsrr0 r5
    mfmsr r5
    or r5, r5, r6
    mtsrr1 r5
    lis r5, 0x7fff                              # problem state has EE set: no decrementer interrupt for seconds
    mtdec r5
    cmpdi cr1, r7, 0
    beq cr1, load
    lis r5, SEGMENT_0_HIGH
    slbmte r7, r5
    isync

load:
    # Load, r31 last. f0 and v0 pass on FPSCR and VSCR, so those go before the VSRs.
    lfd f0, F_FPSCR(r31)
    mtfsf 255, f0, 1, 0
    li r30, F_VSCR
    lvx v0, r31, r30
    mtvscr v0
    .set n, 0
    .rept 64
    li r30, F_VSR + n * 16
    lxvd2x n, r31, r30
    .set n, n + 1
    .endr
    ld r30, F_VRSAVE(r31)
    mtspr SPR_VRSAVE, r30
    ld r30, F_SPRG3(r31)
    mtsprg3 r30
    ld r30, F_LR(r31)
    mtlr r30
    ld r30, F_CTR(r31)
    mtctr r30
    ld r30, F_XER(r31)
    mtxer r30
    beq here
    load_general
    rfid                                        # by way of routine_done to store
here:
    load_general
    sc 1
    # Store; nothing here may change what is still to be stored. SPRG2 is safe again: the hypervisor may use it
    # during a call, not between two instructions of ours (LoPAR C.1).
    mtsprg2 r31
    mfsprg1 r31
    std r30, 30 * 8(r31)
    mfmsr r30
    std r30, F_MSR(r31)
    mfsrr0 r30
    std r30, F_SRR0(r31)
    mfsrr1 r30
    std r30, F_SRR1(r31)
store:                                          # r31 = record, which has r30, MSR, SRR0 and SRR1; SPRG2 = r31
    .set n, 0
    .rept 30
    std n, n * 8(r31)
    .set n, n + 1
    .endr
    mfsprg2 r30
    std r30, 31 * 8(r31)
    mfcr r30
    std r30, F_CR(r31)
    mflr r30
    std r30, F_LR(r31)
    mfctr r30
    std r30, F_CTR(r31)
    mfxer r30
    std r30, F_XER(r31)
    mfsprg0 r30
    std r30, F_SPRG0(r31)
    mfsprg1 r30
    std r30, F_SPRG1(r31)
    mfsprg3 r30
    std r30, F_SPRG3(r31)
    mfspr r30, SPR_VRSAVE
    std r30, F_VRSAVE(r31)
    .set n, 0
    .rept 64
    li r30, F_VSR + n * 16
    stxvd2x n, r31, r30
    .set n, n + 1
    .endr
    mffs f0
    stfd f0, F_FPSCR(r31)
    mfvscr v0
    li r30, F_VSCR
    stvx v0, r31, r30

    mfsprg0 r31
    ld r28, M_INDEX(r31)
    addi r28, r28, 1
    std r28, M_INDEX(r31)
    b full

# ---- elsewhere: a routine as short as can be, for calls in another state; its page needs translation, no other does

    .section .elsewhere, "ax"
    .globl rig_elsewhere
rig_elsewhere:
    sc 1
    sc

# ---- data ----------------------------------------------------------------------------------------------------------

    .section .mailbox, "a"
    .globl rig_mailbox
rig_mailbox:
    .quad MAGIC, VERSION
    .org 0x1000

    .section .scratch, "a"
    .globl rig_scratch
rig_scratch:
    .org 0x1000
