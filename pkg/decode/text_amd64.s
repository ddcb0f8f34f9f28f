//go:build !purego

#include "textflag.h"

// Classes of bytes behind a backslash, one bit each, by low and by high nibble: a byte has the classes
// that both its nibbles have. Bits 0-3: one of "\/bfnrt, bits 4-5: a hex digit, bit 6: u.
DATA low<>+0(SB)/8, $0x10347038303d3010
DATA low<>+8(SB)/8, $0x0104000200001010
GLOBL low<>(SB), RODATA|NOPTR, $16
DATA high<>+0(SB)/8, $0x4824022010010000
DATA high<>+8(SB)/8, $0x0000000000000000
GLOBL high<>(SB), RODATA|NOPTR, $16

DATA bytes<>+0(SB)/1, $0x22 // quote
DATA bytes<>+1(SB)/1, $0x5c // backslash
DATA bytes<>+2(SB)/1, $0x1f // the last control byte
DATA bytes<>+3(SB)/1, $0x0f // nibble, and the class of simple escapes
DATA bytes<>+4(SB)/1, $0x30 // the class of hex digits
DATA bytes<>+5(SB)/1, $0x75 // u
GLOBL bytes<>(SB), RODATA|NOPTR, $6

// func scanText(p *byte, n int) (end, flags int)
//
// SI text, BX last offset of a whole block, AX offset of the block, R8 1 if its first byte is escaped,
// R9 non-ASCII bytes seen. One bit per byte of the block: DX quotes, DI backslashes, R10 control
// bytes, R11 non-ASCII, R12 bytes before the closing quote.
TEXT ·scanText(SB), NOSPLIT, $0-32
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), BX
	XORL AX, AX
	XORL R8, R8
	XORL R9, R9
	VPBROADCASTB bytes<>+0(SB), Y15
	VPBROADCASTB bytes<>+1(SB), Y14
	VPBROADCASTB bytes<>+2(SB), Y13
	SUBQ $64, BX
	JLT  more

block:
	VMOVDQU  (SI)(AX*1), Y0
	VMOVDQU  32(SI)(AX*1), Y1
	VPCMPEQB Y0, Y15, Y2
	VPCMPEQB Y1, Y15, Y3
	VPCMPEQB Y0, Y14, Y4
	VPCMPEQB Y1, Y14, Y5
	VPMINUB  Y0, Y13, Y6
	VPMINUB  Y1, Y13, Y7
	VPCMPEQB Y0, Y6, Y6
	VPCMPEQB Y1, Y7, Y7

	// Nothing but printable ASCII: on to the next block.
	VPOR      Y2, Y4, Y8
	VPOR      Y3, Y5, Y9
	VPOR      Y0, Y6, Y10
	VPOR      Y1, Y7, Y11
	VPOR      Y8, Y10, Y8
	VPOR      Y9, Y11, Y9
	VPOR      Y8, Y9, Y8
	VPMOVMSKB Y8, CX
	ORL       R8, CX
	JZ        next

	VPMOVMSKB Y2, DX
	VPMOVMSKB Y3, CX
	SHLQ      $32, CX
	ORQ       CX, DX
	VPMOVMSKB Y4, DI
	VPMOVMSKB Y5, CX
	SHLQ      $32, CX
	ORQ       CX, DI
	VPMOVMSKB Y6, R10
	VPMOVMSKB Y7, CX
	SHLQ      $32, CX
	ORQ       CX, R10
	VPMOVMSKB Y0, R11
	VPMOVMSKB Y1, CX
	SHLQ      $32, CX
	ORQ       CX, R11
	MOVQ      DI, CX
	ORQ       R8, CX
	JNZ       escapes

	LEAQ  -1(DX), R12
	ANDNQ R12, DX, R12

quotes:
	ANDQ  R12, R11
	ORQ   R11, R9
	TESTQ R12, R10
	JNZ   fault
	TESTQ DX, DX
	JNZ   quote

next:
	ADDQ $64, AX
	CMPQ AX, BX
	JLE  block

more:
	SUBQ  R8, AX // back to a backslash whose other half is not there
	MOVL  $2, CX
	JMP   done

quote:
	TZCNTQ DX, DX
	ADDQ   DX, AX
	XORL   CX, CX

done:
	TESTQ   R9, R9
	SETNE   DL
	MOVBLZX DL, DX
	LEAQ    (CX)(DX*4), CX
	MOVQ    AX, end+16(FP)
	MOVQ    CX, flags+24(FP)
	VZEROUPPER
	RET

fault:
	MOVL $1, CX
	JMP  done

escapes:
	// Which bytes are escaped: simdjson's way to find the odd ones in runs of backslashes by one
	// subtraction.
	MOVQ  $0xaaaaaaaaaaaaaaaa, R13
	ANDNQ DI, R8, CX           // backslashes that may start an escape
	LEAQ  (CX)(CX*1), R12
	ORQ   R13, R12
	SUBQ  CX, R12
	XORQ  R13, R12
	ORQ   DI, R8
	XORQ  R12, R8              // escaped bytes
	ANDQ  DI, R12
	SHRQ  $63, R12             // the last byte starts an escape
	MOVQ  R8, R13              // R13 escaped
	MOVQ  R12, R8              // R8 carry again
	ANDNQ DX, R13, DX          // quotes that are not escaped
	LEAQ  -1(DX), R12
	ANDNQ R12, DX, R12
	ANDQ  R12, R13

	// Y6 and Y7 are the classes of all bytes.
	VBROADCASTI128 low<>(SB), Y10
	VBROADCASTI128 high<>(SB), Y11
	VPBROADCASTB   bytes<>+3(SB), Y12
	VPSRLW         $4, Y0, Y6
	VPSRLW         $4, Y1, Y7
	VPAND          Y12, Y6, Y6
	VPAND          Y12, Y7, Y7
	VPSHUFB        Y6, Y11, Y6
	VPSHUFB        Y7, Y11, Y7
	VPSHUFB        Y0, Y10, Y8
	VPSHUFB        Y1, Y10, Y9
	VPAND          Y6, Y8, Y6
	VPAND          Y7, Y9, Y7
	VPXOR          Y3, Y3, Y3
	VPAND          Y6, Y12, Y8
	VPAND          Y7, Y12, Y9
	VPCMPEQB       Y3, Y8, Y8
	VPCMPEQB       Y3, Y9, Y9
	VPMOVMSKB      Y8, DI
	VPMOVMSKB      Y9, CX
	SHLQ           $32, CX
	ORQ            CX, DI
	ANDQ           R13, DI     // escaped, but none of the simple ones
	JZ             quotes

	// All of them must be u, with four hex digits behind.
	VPBROADCASTB bytes<>+5(SB), Y8
	VPCMPEQB     Y0, Y8, Y9
	VPCMPEQB     Y1, Y8, Y8
	VPMOVMSKB    Y9, R13
	VPMOVMSKB    Y8, CX
	SHLQ         $32, CX
	ORQ          CX, R13
	ANDNQ        DI, R13, CX
	TESTQ        CX, CX
	JNZ          fault
	VPBROADCASTB bytes<>+4(SB), Y8
	VPAND        Y6, Y8, Y6
	VPAND        Y7, Y8, Y7
	VPCMPEQB     Y3, Y6, Y6
	VPCMPEQB     Y3, Y7, Y7
	VPMOVMSKB    Y6, R13
	VPMOVMSKB    Y7, CX
	SHLQ         $32, CX
	ORQ          CX, R13       // no hex digits
	MOVQ         DI, CX
	SHRQ         $60, CX
	JNZ          edge

	// DI*30 has the four places behind each u. Two that are less than six apart are wrong anyway, and
	// the sum still has the place of the backslash between them.
	IMUL3Q $30, DI, CX
	TESTQ R13, CX
	JZ    quotes
	JMP   fault

edge:
	// The digits of the last u are in the next block: begin it at its backslash.
	BSRQ  DI, CX
	BTRQ  CX, DI
	IMUL3Q $30, DI, DI
	TESTQ R13, DI
	JNZ   fault
	TESTQ R12, R10
	JNZ   fault
	ANDQ  R12, R11
	ORQ   R11, R9
	XORL  R8, R8
	LEAQ  -1(AX)(CX*1), AX
	CMPQ  AX, BX
	JLE   block
	JMP   more
