package fscc

import "fmt"

// FSCTL is a file-system control code ([MS-FSCC] 2.3; [MS-SMB2] 2.2.31).
type FSCTL uint32

const (
	FsctlIsPathnameValid               FSCTL = 0x0009002C
	FsctlGetCompression                FSCTL = 0x0009003C
	FsctlQueryFATBPB                   FSCTL = 0x00090058
	FsctlFilesystemGetStatistics       FSCTL = 0x00090060
	FsctlGetNTFSVolumeData             FSCTL = 0x00090064
	FsctlGetRetrievalPointers          FSCTL = 0x00090073
	FsctlFindFilesBySID                FSCTL = 0x0009008F
	FsctlSetObjectID                   FSCTL = 0x00090098
	FsctlGetObjectID                   FSCTL = 0x0009009C
	FsctlDeleteObjectID                FSCTL = 0x000900A0
	FsctlSetReparsePoint               FSCTL = 0x000900A4
	FsctlGetReparsePoint               FSCTL = 0x000900A8
	FsctlDeleteReparsePoint            FSCTL = 0x000900AC
	FsctlSetObjectIDExtended           FSCTL = 0x000900BC
	FsctlCreateOrGetObjectID           FSCTL = 0x000900C0
	FsctlSetSparse                     FSCTL = 0x000900C4
	FsctlSetEncryption                 FSCTL = 0x000900D7
	FsctlReadFileUSNData               FSCTL = 0x000900EB
	FsctlWriteUSNCloseRecord           FSCTL = 0x000900EF
	FsctlMarkHandle                    FSCTL = 0x000900FC
	FsctlSISCopyfile                   FSCTL = 0x00090100
	FsctlRecallFile                    FSCTL = 0x00090117
	FsctlQuerySparingInfo              FSCTL = 0x00090138
	FsctlQueryOnDiskVolumeInfo         FSCTL = 0x0009013C
	FsctlSetZeroOnDeallocation         FSCTL = 0x00090194
	FsctlGetIntegrityInformation       FSCTL = 0x0009027C
	FsctlQueryFileRegions              FSCTL = 0x00090284
	FsctlGetREFSVolumeData             FSCTL = 0x000902D8
	FsctlSetIntegrityInformationEx     FSCTL = 0x00090380
	FsctlGetRetrievalPointersRefcount  FSCTL = 0x000903D3
	FsctlGetRetrievalPointerCount      FSCTL = 0x0009042B
	FsctlREFSStreamSnapshotManagement  FSCTL = 0x00090440
	FsctlQueryAllocatedRanges          FSCTL = 0x000940CF
	FsctlOffloadRead                   FSCTL = 0x00094264
	FsctlSetZeroData                   FSCTL = 0x000980C8
	FsctlSetDefectManagement           FSCTL = 0x00098134
	FsctlFileLevelTrim                 FSCTL = 0x00098208
	FsctlOffloadWrite                  FSCTL = 0x00098268
	FsctlDuplicateExtentsToFile        FSCTL = 0x00098344
	FsctlDuplicateExtentsToFileEx      FSCTL = 0x000983E8
	FsctlSetCompression                FSCTL = 0x0009C040
	FsctlSetIntegrityInformation       FSCTL = 0x0009C280
	FsctlPipeWait                      FSCTL = 0x00110018
	FsctlPipePeek                      FSCTL = 0x0011400C
	FsctlPipeTransceive                FSCTL = 0x0011C017
	FsctlLMRSetLinkTrackingInformation FSCTL = 0x001400EC
	FsctlDFSGetReferrals               FSCTL = 0x00060194
	FsctlDFSGetReferralsEx             FSCTL = 0x000601B0
	FsctlLMRRequestResiliency          FSCTL = 0x001401D4
	FsctlQueryNetworkInterfaceInfo     FSCTL = 0x001401FC
	FsctlValidateNegotiateInfo         FSCTL = 0x00140204
	FsctlSrvRequestResumeKey           FSCTL = 0x00140078
	FsctlSrvEnumerateSnapshots         FSCTL = 0x00144064
	FsctlSrvCopychunk                  FSCTL = 0x001440F2
	FsctlSrvReadHash                   FSCTL = 0x001441BB
	FsctlSrvCopychunkWrite             FSCTL = 0x001480F2
	FsctlSvhdxSyncTunnelRequest        FSCTL = 0x00090304
	FsctlSvhdxAsyncTunnelRequest       FSCTL = 0x00090364
	FsctlQuerySharedVirtualDiskSupport FSCTL = 0x00090300
	FsctlStorageQosControl             FSCTL = 0x00090350
	FsctlIOCTLStorageQueryProperty     FSCTL = 0x002D1400
	FsctlIOCTLVolumeGetGPTAttributes   FSCTL = 0x00560038
)

var fsctlNames = map[FSCTL]string{
	FsctlIsPathnameValid: "IS_PATHNAME_VALID", FsctlGetCompression: "GET_COMPRESSION", FsctlQueryFATBPB: "QUERY_FAT_BPB",
	FsctlFilesystemGetStatistics: "FILESYSTEM_GET_STATISTICS", FsctlGetNTFSVolumeData: "GET_NTFS_VOLUME_DATA",
	FsctlGetRetrievalPointers: "GET_RETRIEVAL_POINTERS", FsctlFindFilesBySID: "FIND_FILES_BY_SID",
	FsctlSetObjectID: "SET_OBJECT_ID", FsctlGetObjectID: "GET_OBJECT_ID", FsctlDeleteObjectID: "DELETE_OBJECT_ID",
	FsctlSetReparsePoint: "SET_REPARSE_POINT", FsctlGetReparsePoint: "GET_REPARSE_POINT",
	FsctlDeleteReparsePoint: "DELETE_REPARSE_POINT", FsctlSetObjectIDExtended: "SET_OBJECT_ID_EXTENDED",
	FsctlCreateOrGetObjectID: "CREATE_OR_GET_OBJECT_ID", FsctlSetSparse: "SET_SPARSE", FsctlSetEncryption: "SET_ENCRYPTION",
	FsctlReadFileUSNData: "READ_FILE_USN_DATA", FsctlWriteUSNCloseRecord: "WRITE_USN_CLOSE_RECORD",
	FsctlMarkHandle: "MARK_HANDLE", FsctlSISCopyfile: "SIS_COPYFILE", FsctlRecallFile: "RECALL_FILE",
	FsctlQuerySparingInfo: "QUERY_SPARING_INFO", FsctlQueryOnDiskVolumeInfo: "QUERY_ON_DISK_VOLUME_INFO",
	FsctlSetZeroOnDeallocation: "SET_ZERO_ON_DEALLOCATION", FsctlGetIntegrityInformation: "GET_INTEGRITY_INFORMATION",
	FsctlQueryFileRegions: "QUERY_FILE_REGIONS", FsctlGetREFSVolumeData: "GET_REFS_VOLUME_DATA",
	FsctlSetIntegrityInformationEx:    "SET_INTEGRITY_INFORMATION_EX",
	FsctlGetRetrievalPointersRefcount: "GET_RETRIEVAL_POINTERS_AND_REFCOUNT",
	FsctlGetRetrievalPointerCount:     "GET_RETRIEVAL_POINTER_COUNT",
	FsctlREFSStreamSnapshotManagement: "REFS_STREAM_SNAPSHOT_MANAGEMENT", FsctlQueryAllocatedRanges: "QUERY_ALLOCATED_RANGES",
	FsctlOffloadRead: "OFFLOAD_READ", FsctlSetZeroData: "SET_ZERO_DATA", FsctlSetDefectManagement: "SET_DEFECT_MANAGEMENT",
	FsctlFileLevelTrim: "FILE_LEVEL_TRIM", FsctlOffloadWrite: "OFFLOAD_WRITE",
	FsctlDuplicateExtentsToFile: "DUPLICATE_EXTENTS_TO_FILE", FsctlDuplicateExtentsToFileEx: "DUPLICATE_EXTENTS_TO_FILE_EX",
	FsctlSetCompression: "SET_COMPRESSION", FsctlSetIntegrityInformation: "SET_INTEGRITY_INFORMATION",
	FsctlPipeWait: "PIPE_WAIT", FsctlPipePeek: "PIPE_PEEK", FsctlPipeTransceive: "PIPE_TRANSCEIVE",
	FsctlLMRSetLinkTrackingInformation: "LMR_SET_LINK_TRACKING_INFORMATION", FsctlDFSGetReferrals: "DFS_GET_REFERRALS",
	FsctlDFSGetReferralsEx: "DFS_GET_REFERRALS_EX", FsctlLMRRequestResiliency: "LMR_REQUEST_RESILIENCY",
	FsctlQueryNetworkInterfaceInfo: "QUERY_NETWORK_INTERFACE_INFO", FsctlValidateNegotiateInfo: "VALIDATE_NEGOTIATE_INFO",
	FsctlSrvRequestResumeKey: "SRV_REQUEST_RESUME_KEY", FsctlSrvEnumerateSnapshots: "SRV_ENUMERATE_SNAPSHOTS",
	FsctlSrvCopychunk: "SRV_COPYCHUNK", FsctlSrvReadHash: "SRV_READ_HASH", FsctlSrvCopychunkWrite: "SRV_COPYCHUNK_WRITE",
	FsctlSvhdxSyncTunnelRequest: "SVHDX_SYNC_TUNNEL_REQUEST", FsctlSvhdxAsyncTunnelRequest: "SVHDX_ASYNC_TUNNEL_REQUEST",
	FsctlQuerySharedVirtualDiskSupport: "QUERY_SHARED_VIRTUAL_DISK_SUPPORT", FsctlStorageQosControl: "STORAGE_QOS_CONTROL",
	FsctlIOCTLStorageQueryProperty: "IOCTL_STORAGE_QUERY_PROPERTY", FsctlIOCTLVolumeGetGPTAttributes: "IOCTL_VOLUME_GET_GPT_ATTRIBUTES",
}

func (c FSCTL) String() string {
	if n, ok := fsctlNames[c]; ok {
		return n
	}
	return fmt.Sprintf("FSCTL(%#x)", uint32(c))
}
