"""The tables :mod:`worker.sim.outreach_schema` reads: type → (attributes, relations).

An attribute is ``name kind[longest] flags`` with R read-only, W write-only, F filterable, S sortable; a relation ``name
links|one:type|many:type R|W filters``, where ``-`` allows none and ``*`` every filterable attribute of the other side.
"""

from __future__ import annotations

TABLES: dict[str, tuple[str, str]] = {
    "sequenceState": (
        """
        activeAt dt R; bounceCount int R; callCompletedAt dt RFS; clickCount int RFS; createdAt dt RFS;
        deliverCount int RFS; errorReason str255 R; failureCount int R; negativeReplyCount int R;
        neutralReplyCount int R; openCount int RFS; optOutCount int R; pauseReason str255 RFS;
        positiveReplyCount int R; repliedAt dt RFS; replyCount int RFS; scheduleCount int R; state str255 RFS;
        stateChangedAt dt RFS; updatedAt dt RFS
        """,
        """
        account one:account R id; activeStepMailings many:mailing R -; activeStepTasks many:task R -;
        batchItemCreator one:batchItem R id; calls links R id; creator one:user R -; mailbox one:mailbox W
        id,email; mailings links R -; opportunity one:opportunity R id; prospect one:prospect W id,emails;
        sequence one:sequence W *; sequenceStateRecipients many:sequenceStateRecipient W id; sequenceStep
        one:sequenceStep R *; tasks links R id,dueAt; user one:user R id
        """,
    ),
    "sequence": (
        """
        automationPercentage num R; bounceCount int R; clickCount int RFS; createdAt dt RFS; deliverCount int
        RFS; description str1024; durationInDays int R; enabled bool R; enabledAt dt RFS; failureCount int R;
        finishOnReply bool; lastUsedAt dt RFS; locked bool R; lockedAt dt RFS; maxActivations int; name str255
        FS; negativeReplyCount int R; neutralReplyCount int R; numContactedProspects int R; numRepliedProspects
        int R; openCount int RFS; optOutCount int R; positiveReplyCount int R; primaryReplyAction str4;
        primaryReplyPauseDuration int; replyCount int RFS; salesMotion str255 F; scheduleCount int R;
        scheduleIntervalType str255; secondaryReplyAction str4; secondaryReplyPauseDuration int;
        sequenceStepCount int R; sequenceType str255; shareType str255 FS; tags array[str]; throttleCapacity int
        FS; throttleMaxAddsPerDay int FS; throttlePaused bool; throttlePausedAt dt R; transactional bool;
        updatedAt dt RFS
        """,
        """
        calls links R id; contentCategoryMemberships many:contentCategoryMembership R id; creator one:user R id;
        mailings links R -; owner one:user W id,email,firstName,lastName; ruleset one:ruleset W id; schedule
        one:schedule W id; sequenceStates links R id; sequenceSteps many:sequenceStep W id; tasks links R id;
        updater one:user R id
        """,
    ),
    "sequenceStep": (
        """
        bounceCount int R; clickCount int R; createdAt dt RFS; date date FS; deliverCount int R; displayName str
        R; failureCount int R; interval int; negativeReplyCount int R; neutralReplyCount int R; openCount int R;
        optOutCount int R; order int FS; positiveReplyCount int R; replyCount int R; scheduleCount int R;
        stepType str255 FS; taskAutoskipDelay int; taskNote str65535; updatedAt dt RFS
        """,
        """
        callPurpose one:callPurpose W id; calls links R id; creator one:user R id; mailings links R -; schedule
        one:schedule W id; sequence one:sequence W id,enabledAt,name; sequenceTemplates many:sequenceTemplate R
        *; taskPriority one:taskPriority W id; tasks links R id; updater one:user R id
        """,
    ),
    "prospect": (
        """
        addedAt dt; addressCity str255; addressCountry str255; addressState str255; addressStreet str255;
        addressStreet2 str255; addressZip str255; angelListUrl str255; availableAt dt; callOptedOut bool;
        callsOptStatus str255; callsOptedAt dt R; campaignName str255; clickCount int R; company str;
        contactHistogram array R; createdAt dt RFS; custom*150 str32000; dateOfBirth date; degree str255;
        emailOptedOut bool; emails array[str] F; emailsOptStatus str255; emailsOptedAt dt R; engagedAt dt RFS;
        engagedScore num RFS; eventName str255; externalId str255; externalOwner str255; externalSource str255
        FS; facebookUrl str255; firstName str255 FS; gender str255; githubUrl str1000; githubUsername str255 FS;
        googlePlusUrl str255; graduationDate date; homePhones array[str]; jobStartDate date; lastName str255 FS;
        linkedInConnections int; linkedInId str255 FS; linkedInSlug str255 RFS; linkedInUrl str1000; middleName
        str255; mobilePhones array[str]; name str R; nickname str255; occupation str255; openCount int R;
        optedOut bool; optedOutAt dt R; otherPhones array[str]; personalNote1 str65535; personalNote2 str65535;
        preferredContact str255; quoraUrl str255; region str255; replyCount int R; school str255; score num;
        sharingTeamId str255 F; source str255; specialties str65535; stackOverflowId str255 FS; stackOverflowUrl
        str1000; tags array[str]; timeZone str255 F; timeZoneIana str R; timeZoneInferred str255 R; title str255
        FS; touchedAt dt RFS; trashedAt dt; twitterUrl str1000; twitterUsername str255 FS; updatedAt dt RFS;
        voipPhones array[str]; websiteUrl1 str65535; websiteUrl2 str65535; websiteUrl3 str65535; workPhones
        array[str]
        """,
        """
        account one:account W id,customId,name,named,updatedAt; activeSequenceStates many:sequenceState R
        id,state; assignedTeams many:team W id; assignedUsers many:user W id; batches links R id; calls links R
        -; creator one:user R -; defaultPluginMapping one:pluginMapping R id; emailAddresses many:emailAddress W
        -; favorites many:favorite W -; mailings links R -; opportunities many:opportunity W id;
        opportunityProspectRoles many:opportunityProspectRole W -; owner one:user W id; persona one:persona W
        id; phoneNumbers many:phoneNumber W -; sequenceStates links R id,state; stage one:stage W id,name; tasks
        links R -; trashedByAccount one:account W id; updater one:user R -
        """,
    ),
    "task": (
        """
        action str255; autoskipAt dt FS; compiledSequenceTemplateHtml str R; completed bool R; completedAt dt R;
        createdAt dt RFS; dueAt dt FS; note str65535; opportunityAssociation str255; scheduledAt dt RFS; state
        str255 RFS; stateChangedAt dt RFS; taskType str255 RFS; updatedAt dt RFS
        """,
        """
        account one:account R id; call one:call R id; calls links R id; completer one:user R id; creator
        one:sequenceStep/stage/user R -; defaultPluginMapping one:pluginMapping R id; mailing one:mailing R id;
        mailings links R id; opportunity one:opportunity R id; owner one:user W id,email,firstName; prospect
        one:prospect R id,createdAt,firstName,tags,title,updatedAt; prospectAccount one:account R id;
        prospectContacts many:emailAddress R id; prospectOwner one:user R id; prospectPhoneNumbers
        many:phoneNumber R id; prospectStage one:stage R id; sequence one:sequence R id,tags;
        sequenceSequenceSteps many:sequenceStep R id; sequenceState one:sequenceState R id;
        sequenceStateSequenceStep one:sequenceStep R id; sequenceStateSequenceStepOverrides
        many:sequenceStepOverride R id; sequenceStateStartingTemplate one:template R id; sequenceStep
        one:sequenceStep R id,stepType; sequenceStepOverrideTemplates many:template R id; sequenceTemplate
        one:sequenceTemplate R id; sequenceTemplateTemplate one:template R id; subject
        one:account/opportunity/prospect W -; taskDisposition one:taskDisposition W id; taskPriority
        one:taskPriority W id,name; taskPurpose one:taskPurpose W id; taskTheme one:taskTheme W id; team
        one:team W id; template one:template R id
        """,
    ),
    "account": (
        """
        annualRevenueRange str255; buyerIntentScore num FS; companyType str255; createdAt dt RFS; custom*150
        str32000; customId str255 FS; description str65535; domain str255 FS; externalSource str255; followers
        int; foundedAt dt; industry str255; linkedInEmployees int; linkedInUrl str1000; locality str255;
        naicsCodes array[str]; name str255 FS; named bool FS; naturalName str255; numberOfEmployees int;
        sharingTeamId str255 F; sicCodes array[str]; tags array[str]; tickerSymbol str255; touchedAt dt RFS;
        updatedAt dt RFS; websiteUrl str255
        """,
        """
        assignedTeams many:team W id; assignedUsers many:user W id; batches links R id; creator one:user R -;
        defaultPluginMapping one:pluginMapping R id; favorites many:favorite W id; owner one:user W id;
        primaryRecordTeam one:team W id; prospects links R -; purchases links R id; recordTeamMembers many:user
        W id; recordTeams many:team W id; tasks links R -; updater one:user R -
        """,
    ),
    "user": (
        """
        accountsViewId int; activityNotificationsDisabled bool; bounceWarningEmailEnabled bool; bridgePhone
        str255; bridgePhoneExtension str255; callsViewId int; controlledTabDefault str255; createdAt dt RFS;
        currentSignInAt dt RFS; custom*5 str225; dailyDigestEmailEnabled bool; defaultRulesetId int; duties obj;
        email str255 FS; enableVoiceRecordings bool; engagementEmailsEnabled bool; firstName str255 FS;
        inboundBridgePhone str255; inboundBridgePhoneExtension str255; inboundCallBehavior str255;
        inboundPhoneType str255; inboundVoicemailCustomMessageText str1024; inboundVoicemailMessageTextVoice
        str255; inboundVoicemailPromptType str255; jobRoleByName str255 W; kaiaRecordingsViewId int;
        keepBridgePhoneConnected bool; lastName str255 FS; lastSignInAt dt R; locked bool FS;
        mailboxErrorEmailEnabled bool; meetingEngagementNotificationEnabled bool; name str R;
        notificationsEnabled bool; oceClickToDialEverywhere bool; oceGmailToolbar bool; oceGmailTrackingState
        str255; oceSalesforceEmailDecorating bool; oceSalesforcePhoneDecorating bool; oceUniversalTaskFlow bool;
        oceWindowMode bool; opportunitiesViewId int; passwordExpiresAt dt R; phoneCountryCode str2; phoneNumber
        str; phoneType str255; pluginAlertNotificationEnabled bool; preferredVoiceRegion str255;
        prefersLocalPresence bool; prospectsViewId int; reportsTeamPerfViewId int; reportsViewId int;
        scimExternalId str255; scimSource str255; senderNotificationsExcluded bool; tasksViewId int; teamsViewId
        int; textingEmailNotifications bool; title str255; unknownReplyEmailEnabled bool; updatedAt dt RFS;
        userGuid str R; username str255 FS; usersViewId int; voicemailNotificationEnabled bool;
        weeklyDigestEmailEnabled bool
        """,
        """
        batches links R id; calendar one:calendar W id; contentCategories many:contentCategory W -;
        contentCategoryOwnerships many:contentCategoryOwnership W id; creator one:user R -; directAssignedTeams
        many:team W id; favorites many:favorite W id; jobRole one:jobRole W id; mailbox one:mailbox W -;
        mailboxes many:mailbox W -; outboundVoicemails many:outboundVoicemail W id; phone one:phone W id; phones
        many:phone W id; profile one:profile W id; recipients many:recipient W -; role one:role W id;
        roleAssignedTeams many:team W id; smsPhone one:phone W id; teams many:team W id; updater one:user R -;
        voicemailPrompts many:voicemailPrompt W id
        """,
    ),
    "mailbox": (
        """
        authId int; createdAt dt RFS; editable bool R; email str255 FS; emailHash str255; emailProvider str255;
        emailSignature str65535; ewsEndpoint str255; ewsSslVerifyMode int; exchangeVersion str255; imapHost
        str255; imapPort int; imapSsl bool; maxEmailsPerDay int; maxMailingsPerDay int; maxMailingsPerWeek int;
        optOutMessage str512; optOutSignature str512; password str65535 W; prospectEmailExclusions str65535;
        providerId int R; providerType str255 R; sendDisabled bool; sendErroredAt dt R; sendMaxRetries int;
        sendMethod str255; sendPeriod int; sendRequiresSync bool; sendSuccessAt dt R; sendThreshold int;
        sendgridApiKey str65535 W; sendgridWebhookUrl str R; smtpHost str255; smtpPassword str65535 W; smtpPort
        int; smtpSsl bool; smtpUsername str255; syncActiveFrequency int; syncDisabled bool; syncErroredAt dt R;
        syncFinishedAt dt R; syncMethod str255; syncOutreachFolder bool; syncPassiveFrequency int; syncSuccessAt
        dt R; updatedAt dt RFS; userId int RFS; username str255; validateSend bool W; validateSync bool W
        """,
        """
        creator one:user R -; mailAliases links R -; mailings links R -; updater one:user R -; user one:user W
        id
        """,
    ),
    "emailAddress": (
        """
        createdAt dt R; email str255 FS; emailType str255 FS; order int FS; status str255 FS; statusChangedAt dt
        RFS; unsubscribedAt dt RFS; updatedAt dt RFS
        """,
        """
        prospect one:prospect W id
        """,
    ),
    "event": (
        """
        body str; createdAt dt RFS; eventAt dt FS; externalUrl str; name str255 F; payload obj; requestCity
        str255 R; requestDevice str255 R; requestHost str255 R; requestProxied bool R; requestRegion str255 R
        """,
        """
        account one:account W id; call one:call W id; mailing one:mailing W id; note one:note R id; opportunity
        one:opportunity W id; plugin one:plugin W id; prospect one:prospect W id; sequence one:sequence R id;
        sequenceStep one:sequenceStep R id; task one:task W id; user one:user W id
        """,
    ),
    "stage": (
        """
        color str255; createdAt dt RFS; name str255 FS; order int FS; updatedAt dt RFS
        """,
        """
        creator one:user R -; prospects links R id; updater one:user R -
        """,
    ),
    "webhook": (
        """
        action str255 FS; active bool FS; cleanupToken str R; createdAt dt R; creatorAppId str R;
        creatorAppName str R; disabledReason str1024 R; disabledSince dt R; disabledUntil dt R;
        payloadVersion int; resource str255 FS; secret str255; updatedAt dt R; url str1024
        """,
        """
        authorizer one:user W -; creator one:user R id; updater one:user R id
        """,
    ),
    "mailing": (
        """
        bodyHtml str; bodyText str R; bouncedAt dt RFS; clickCount int R; clickedAt dt RFS; createdAt dt RFS;
        deliveredAt dt RFS; errorBacktrace str R; errorReason str255 R; followUpTaskScheduledAt dt;
        followUpTaskType str255; mailboxAddress str R; mailingType str255 RFS; markedAsSpamAt dt R; messageId
        str255 RFS; notifyThreadCondition str255 R; notifyThreadScheduledAt dt RFS; notifyThreadStatus str255
        RFS; openCount int R; openedAt dt RFS; overrideSafetySettings bool R; references array[str] R; repliedAt
        dt RFS; retryAt dt RFS; retryCount int R; retryInterval int R; scheduledAt dt FS; state str255 FS;
        stateChangedAt dt RFS; subject str; trackLinks bool; trackOpens bool; unsubscribedAt dt RFS; updatedAt
        dt RFS
        """,
        """
        attachments many:attachment W id; bccEntitiesId links R id; calendar one:calendar R id; ccEntitiesId
        links R id; followUpSequence one:sequence W id; mailbox one:mailbox W id; opportunity one:opportunity R
        id; prospect one:prospect W id; prospectsIds links R id; recipients many:recipient W -; schedule
        one:schedule W id; sequence one:sequence R id; sequenceState one:sequenceState R id; sequenceStep
        one:sequenceStep R id; task one:task W id; tasks many:task R -; template one:template W id; toEntitiesId
        links R id; user one:user R id
        """,
    ),
}
