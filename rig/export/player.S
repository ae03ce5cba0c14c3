# The player: bare-metal code that performs the calls of one program and says on the console what came of them.
#
# It interprets the table behind it (rig/export/table.py writes it). All of it is big-endian. Its own state is kept in
# memory while a call is made: a call that fails to preserve a register must not change what is printed.

    .set TABLE_HIGH, 1                          # the table begins at 0x10000
    .set START, 0x1000
    .set STATE, 0x8000
    .set RESULTS, 0x8100                        # r3..r12 as the last call left them
    .set H_GET_TERM_CHAR, 0x54
    .set H_PUT_TERM_CHAR, 0x58
    .set H_CONFER, 0xe4
    .set H_BUSY, 1

    # r14 table, r15 value in hand, r16 whether it is permitted, r17 differences, r18 terminal
    .text
    .org 0x100
    mfmsr r9
    li r8, 1
    rldimi r9, r8, 63, 0                        # SF
    mtsrr1 r9
    li r8, START
    mtsrr0 r8
    rfid

    .org 0x200
    .rept (0x1000 - 0x200) / 0x20
    b fault
    .balign 0x20
    .endr

    .org START
start:
    lis r14, TABLE_HIGH
    li r15, 0
    li r16, 0
    li r17, 0
    ld r18, 0(r14)
    addi r14, r14, 8
next:
    ld r3, 0(r14)
    addi r14, r14, 8
    cmpldi r3, 10
    bgt fault
    sldi r3, r3, 2
    bl here
here:
    mflr r4
    addi r4, r4, jumps - here
    add r4, r4, r3
    mtctr r4
    bctr
jumps:
    b end
    b text
    b seed
    b call
    b cell
    b register
    b hex
    b between
    b bytes
    b check
    b pause

# ---- what the table can ask for ----------------------------------------------------------------------------------

text:                                           # length, text
    bl string
    b next

seed:                                           # address, length, bytes
    ld r3, 0(r14)
    ld r4, 8(r14)
    addi r5, r14, 16
    addi r14, r4, 7
    clrrdi r14, r14, 3
    add r14, r14, r5
    cmpdi r4, 0
    beq next
    mtctr r4
1:  lbz r6, 0(r5)
    stb r6, 0(r3)
    addi r5, r5, 1
    addi r3, r3, 1
    bdnz 1b
    b next

call:                                           # r3..r12
    li r3, 0
    ori r3, r3, STATE
    addi r4, r14, 80
    std r4, 0(r3)
    std r17, 8(r3)
    std r18, 16(r3)
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    ld r\n, (\n - 3) * 8(r14)
    .endr
    sc 1
    mtsprg1 r3
    li r3, 0
    ori r3, r3, RESULTS
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12
    std r\n, (\n - 3) * 8(r3)
    .endr
    mfsprg1 r4
    std r4, 0(r3)
    ld r14, STATE - RESULTS + 0(r3)
    ld r17, STATE - RESULTS + 8(r3)
    ld r18, STATE - RESULTS + 16(r3)
    li r16, 0
    b next

cell:                                           # width, address
    ld r4, 0(r14)
    ld r5, 8(r14)
    addi r14, r14, 16
    li r15, 0
    mtctr r4
1:  lbz r6, 0(r5)
    sldi r15, r15, 8
    or r15, r15, r6
    addi r5, r5, 1
    bdnz 1b
    b next

register:                                       # number
    ld r3, 0(r14)
    addi r14, r14, 8
    sldi r3, r3, 3
    li r4, 0
    ori r4, r4, RESULTS - 3 * 8
    ldx r15, r4, r3
    b next

hex:                                            # digits
    ld r22, 0(r14)
    addi r14, r14, 8
1:  cmpdi r22, 0
    beq next
    addi r22, r22, -1
    sldi r3, r22, 2
    srd r3, r15, r3
    clrldi r3, r3, 60
    addi r6, r3, 48
    cmpldi r3, 10
    blt 2f
    addi r6, r6, 39
2:  bl put
    b 1b

between:                                        # low, high
    ld r3, 0(r14)
    ld r4, 8(r14)
    addi r14, r14, 16
    cmpld r15, r3
    blt next
    cmpld r15, r4
    bgt next
    li r16, 1
    b next

bytes:                                          # address, length, bytes
    ld r3, 0(r14)
    ld r4, 8(r14)
    addi r5, r14, 16
    addi r14, r4, 7
    clrrdi r14, r14, 3
    add r14, r14, r5
    mtctr r4
1:  lbz r6, 0(r5)
    lbz r7, 0(r3)
    cmpld r6, r7
    bne next
    addi r5, r5, 1
    addi r3, r3, 1
    bdnz 1b
    li r16, 1
    b next

check:                                          # text if permitted, text if not
    cmpdi r16, 0
    bne 1f
    addi r17, r17, 1
    bl skip
    bl string
    b 2f
1:  bl string
    bl skip
2:  li r16, 0
    b next

pause:                                          # until the console says '.', or '!' for a difference
    li r3, H_GET_TERM_CHAR
    mr r4, r18
    sc 1
    cmpdi r4, 0
    bne 2f
    li r3, H_CONFER                             # or QEMU 5.2 waits for ever for its vCPU to leave the guest
    li r4, -1
    sc 1
    b pause
2:  srdi r5, r5, 56
    cmpdi r5, '!'
    bne next
    addi r17, r17, 1
    b next

end:                                            # text if nothing differed, text otherwise, call that ends QEMU
    cmpdi r17, 0
    bne 1f
    bl string
    bl skip
    b 2f
1:  bl skip
    bl string
2:  ld r3, 0(r14)
    ld r4, 8(r14)
    sc 1
3:  or r31, r31, r31
    b 3b

# ---- the console -------------------------------------------------------------------------------------------------

skip:                                           # over a text
    ld r3, 0(r14)
    addi r3, r3, 8 + 7
    clrrdi r3, r3, 3
    add r14, r14, r3
    blr

string:                                         # print a text
    mflr r23
    ld r22, 0(r14)
    addi r21, r14, 8
    addi r3, r22, 8 + 7
    clrrdi r3, r3, 3
    add r14, r14, r3
1:  cmpdi r22, 0
    beq 2f
    addi r22, r22, -1
    lbz r6, 0(r21)
    addi r21, r21, 1
    bl put
    b 1b
2:  mtlr r23
    blr

put:                                            # the character in r6
    sldi r20, r6, 56
1:  li r3, H_PUT_TERM_CHAR
    mr r4, r18
    li r5, 1
    mr r6, r20
    li r7, 0
    sc 1
    cmpdi r3, H_BUSY
    beq 1b
    blr

fault:                                          # an exception, or a table that cannot be read
    lis r3, TABLE_HIGH
    ld r18, 0(r3)
    .irp letter, 10, 'F', 'A', 'U', 'L', 'T', 10
    li r6, \letter
    bl put
    .endr
1:  or r31, r31, r31
    b 1b
